"""The other routes that a model answers on: embeddings, responses and messages."""

from __future__ import annotations

from proxy.probing.answers import objects, short
from proxy.probing.check import EMBEDDINGS, Check, Finding, Steps, lacking, plain
from proxy.probing.subject import Subject
from proxy.wire import routes
from proxy.wire.profile import Verdict

_TEXT = "Hello."
_TOKENS = 16


def embeddings(subject: Subject) -> Steps:
    """A text has a vector."""
    answer = yield from plain(subject.post(input=_TEXT))
    vectors = [item.get("embedding") for item in objects(answer.fields.get("data"))]
    if vectors and isinstance(vectors[0], list) and vectors[0]:
        return Finding(Verdict.SUPPORTED, f"{len(vectors[0])} dimensions")
    return Finding(Verdict.WRONG, f"no vector: {short(answer.fields)}")


def responses(subject: Subject) -> Steps:
    """A text is answered with an output."""
    answer = yield from plain(subject.post(input=_TEXT, max_output_tokens=_TOKENS))
    output = objects(answer.fields.get("output"))
    shown = f"output {short([item.get('type') for item in output])}, status {answer.fields.get('status')}"
    return Finding(Verdict.SUPPORTED if output else Verdict.WRONG, shown)


def messages(subject: Subject) -> Steps:
    """A message is answered in Anthropic's form."""
    answer = yield from plain(subject.post(messages=[{"role": "user", "content": _TEXT}], max_tokens=_TOKENS))
    content = objects(answer.fields.get("content"))
    shown = f"content {short([item.get('type') for item in content])}, stop_reason {answer.fields.get('stop_reason')}"
    return Finding(Verdict.SUPPORTED if content else Verdict.WRONG, shown)


def checks() -> tuple[Check, ...]:
    """Return one check for each route."""
    return (
        Check(
            routes.EMBEDDINGS,
            "works",
            "a text has a vector",
            embeddings,
            (EMBEDDINGS,),
            lacking("take an embedding model, and start the server for it"),
        ),
        Check(
            routes.RESPONSES,
            "works",
            "a text is answered, and not with a stream",
            responses,
            (),
            lacking("take the chat route"),
        ),
        Check(
            routes.MESSAGES,
            "works",
            "a message is answered in Anthropic's form",
            messages,
            (),
            lacking("take the chat route"),
        ),
    )
