"""Answers made by hand, and a check that is sent them: no server, no IO."""

import json
from dataclasses import dataclass
from typing import Any

from proxy.probing.answers import Answer, Ask
from proxy.probing.check import Decided, Finding
from proxy.probing.subject import Subject
from proxy.probing.table import CHECKS

JSON = [(b"content-type", b"application/json; charset=utf-8")]
EVENTS = [(b"content-type", b"text/event-stream")]
TEXT = [(b"content-type", b"text/plain; charset=utf-8")]
LOST = Answer(failure="not answered")


@dataclass
class Driven:
    finding: Finding
    asks: list[Ask]

    @property
    def verdict(self) -> str:
        return self.finding.verdict.value

    @property
    def evidence(self) -> str:
        return self.finding.evidence

    def body(self, index: int = -1) -> Any:
        raw = self.asks[index].body
        return json.loads(raw) if raw is not None else None


def drive(name: str, *answers: Answer, **subject: Any) -> Driven:
    """Send a check these answers in order; it must want all of them and no more."""
    check = CHECKS[name]
    steps = check.steps(Subject(**{"route": check.route, "model": "m", **subject}))
    asks: list[Ask] = []
    waiting = list(answers)
    try:
        asks.append(next(steps))
        while waiting:
            asks.append(steps.send(waiting.pop(0)))
    except StopIteration as end:
        finding = end.value
    except Decided as early:
        finding = early.finding
    else:
        raise AssertionError(f"{name} asks for more: {asks[-1]}")
    assert not waiting, f"{name} did not want all answers"
    return Driven(finding, asks)


def plain(document: Any, status: int = 200) -> Answer:
    return Answer(status, JSON, json.dumps(document).encode())


def error(status: int, message: str = "no") -> Answer:
    return plain({"error": {"message": message}}, status)


def chat(*texts: str, finish: str = "length", tokens: int | None = 5, prompt: int = 10, **fields: Any) -> Answer:
    choices = [
        {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        for i, text in enumerate(texts)
    ]
    return _answer(choices, tokens, prompt, fields)


def text(*texts: str, finish: str = "length", tokens: int | None = 5, prompt: int = 10, **fields: Any) -> Answer:
    choices = [{"index": i, "text": said, "finish_reason": finish, "logprobs": None} for i, said in enumerate(texts)]
    return _answer(choices, tokens, prompt, fields)


def _answer(choices: list[dict[str, Any]], tokens: int | None, prompt: int, fields: dict[str, Any]) -> Answer:
    usage = {"usage": {"prompt_tokens": prompt, "completion_tokens": tokens}} if tokens is not None else {}
    return plain({"id": "1", "object": "answer", "model": "m", "choices": choices, **usage, **fields})


def events(*chunks: Any, done: bool = True) -> Answer:
    parts = [json.dumps(chunk) for chunk in chunks] + (["[DONE]"] if done else [])
    return Answer(200, EVENTS, "".join(f"data: {part}\n\n" for part in parts).encode())


def delta(text: Any = None, index: int = 0, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    inner = {} if text is None else {"content": text}
    return {"choices": [{"index": index, "delta": inner, "finish_reason": finish}], **fields}
