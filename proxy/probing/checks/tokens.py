"""Tokenization: the routes for it, and whether a prompt begins with one BOS token or, wrongly, with two."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import orjson

from proxy.probing.answers import Answer, Ask, quoted, short
from proxy.probing.check import Check, Decided, Finding, Steps, fetched, lacking, plain
from proxy.probing.subject import Subject
from proxy.wire import routes
from proxy.wire.profile import Verdict

_TEXT = "hello world"
_PATH = b"/tokenize"
_FORMS = ("prompt", "content")
"""The field that vLLM, or llama.cpp, takes a text in."""


def _post(path: bytes, subject: Subject, **fields: Any) -> Ask:
    named = {} if subject.model is None else {"model": subject.model}
    return Ask(path, orjson.dumps(named | fields))


def _tokenized(ask: Ask) -> Steps:
    answer = yield from plain(ask)
    tokens = answer.fields.get("tokens")
    if not isinstance(tokens, list) or not tokens:
        return Finding(Verdict.WRONG, f"200 with {short(answer.fields)}")
    return Finding(Verdict.SUPPORTED, f"{quoted(_TEXT)}: {short(tokens)}")


def prompt(subject: Subject) -> Steps:
    """vLLM's form."""
    return _tokenized(_post(_PATH, subject, prompt=_TEXT))


def messages(subject: Subject) -> Steps:
    """vLLM's form for chats."""
    return _tokenized(_post(_PATH, subject, messages=[{"role": "user", "content": _TEXT}]))


def content(subject: Subject) -> Steps:
    """llama.cpp's form."""
    return _tokenized(_post(_PATH, subject, content=_TEXT))


def _ids(ask: Ask) -> Generator[Ask, Answer, list[int]]:
    """Return token ids, none where the server does not tell them."""
    answer = yield ask
    tokens = answer.fields.get("tokens") if answer.status == 200 else None
    return tokens if isinstance(tokens, list) and all(type(token) is int for token in tokens) else []


def known_ids(subject: Subject, text: str) -> Generator[Ask, Answer, list[int]]:
    """Return the token ids of a text, none where the server does not tell them."""
    for name in _FORMS:
        ids = yield from _ids(_post(_PATH, subject, **{name: text}))
        if ids:
            return ids
    return []


def _bos(subject: Subject) -> Generator[Ask, Answer, tuple[str, str]]:
    """Return the BOS token's text and the field that `/tokenize` takes a text in."""
    for path in (b"/props", b"/tokenizer_info"):
        found = (yield Ask(path)).fields.get("bos_token")
        if isinstance(found, str) and found:
            break
    else:
        raise Decided(Verdict.UNKNOWN, "the server does not tell its BOS token (/props, /tokenizer_info)")
    for name in _FORMS:
        if (yield from _ids(_post(_PATH, subject, **{name: _TEXT}))):
            return found, name
    raise Decided(Verdict.UNKNOWN, "the server tells no tokens (/tokenize)")


def _special(name: str, *, added: bool) -> dict[str, bool]:
    return {"add_special_tokens" if name == "prompt" else "add_special": added}


def completions_bos(subject: Subject) -> Steps:
    """A prompt that begins with the BOS token gets no second one."""
    bos, name = yield from _bos(subject)
    with_it = _post(_PATH, subject, **{name: bos + _TEXT}, **_special(name, added=True))
    tokens = yield from _ids(with_it)
    if len(tokens) > 1 and tokens[0] == tokens[1]:
        return Finding(Verdict.WRONG, f"{quoted(bos + _TEXT)} begins with token {tokens[0]} twice: {short(tokens)}")
    return Finding(Verdict.SUPPORTED, f"{quoted(bos + _TEXT)}: {short(tokens)}")


def chat_bos(subject: Subject) -> Steps:
    """What the chat template makes of messages begins with at most one BOS token."""
    said = [{"role": "user", "content": subject.story}]
    tokens = yield from _ids(_post(_PATH, subject, messages=said))
    if tokens:
        verdict = Verdict.WRONG if tokens[:1] == tokens[1:2] else Verdict.SUPPORTED
        return Finding(verdict, f"the rendered chat begins with {short(tokens[:4])}")
    bos, name = yield from _bos(subject)
    rendered = (yield Ask(b"/apply-template", orjson.dumps({"messages": said}))).fields.get("prompt")
    if not isinstance(rendered, str):
        raise Decided(Verdict.UNKNOWN, "the server does not tell what its template makes of messages")
    expected = len((yield from _ids(_post(_PATH, subject, **{name: rendered}, **_special(name, added=False)))))
    answer = yield from plain(subject.ask())
    count = answer.usage("prompt_tokens")
    told = f"the template's text has {expected} tokens, the prompt {count}"
    if count == expected + 1 and rendered.startswith(bos):
        return Finding(Verdict.WRONG, f"{told}: {quoted(bos)} comes twice")
    return Finding(Verdict.SUPPORTED if count in {expected, expected + 1} else Verdict.UNKNOWN, told)


def tokenizer_info(subject: Subject) -> Steps:
    """vLLM's description of its tokenizer."""
    answer = yield from fetched(Ask(b"/tokenizer_info"))
    return Finding(Verdict.SUPPORTED if answer.fields else Verdict.WRONG, short(sorted(answer.fields)))


def bos_checks(route: str) -> tuple[Check, ...]:
    """Return the check of a generation route."""
    steps = chat_bos if route == routes.CHAT else completions_bos
    twice = {
        routes.CHAT: "take the BOS token out of the chat template: scores drop without a word",
        routes.COMPLETIONS: "leave the BOS token out of rendered prompts (lm-eval: add_bos_token=False)",
    }
    return (Check(route, "single_bos", "a prompt begins with one BOS token", steps, (), {Verdict.WRONG: twice[route]}),)


def checks() -> tuple[Check, ...]:
    """Return the checks of /tokenize."""
    local = "give the tokenizer yourself (lm-eval: tokenizer=…)"
    empty = {**lacking(local), Verdict.WRONG: f"an empty list is no answer; {local}"}
    route = routes.TOKENIZE
    return (
        Check(route, "prompt", "a text in vLLM's form has tokens", prompt, (), empty),
        Check(route, "messages", "a chat in vLLM's form has tokens", messages, (), empty),
        Check(route, "content", "a text in llama.cpp's form has tokens", content, (), empty),
        Check(route, "tokenizer_info", "GET /tokenizer_info tells the tokenizer", tokenizer_info, (), lacking(local)),
    )
