"""Log probabilities: of generated tokens, and of the prompt's own, without which no multiple choice can be scored."""

from __future__ import annotations

from typing import Any

from proxy.probing.answers import Answer, content, objects, quoted, reasoning_field, short
from proxy.probing.check import LOGLIKELIHOOD, Check, Decided, Finding, Steps, lacking, plain
from proxy.probing.subject import Subject
from proxy.wire import routes
from proxy.wire.profile import Verdict

_TOKENS = 2
_LISTS = ("tokens", "token_logprobs", "top_logprobs")
"""Of a text completion's logprobs, in parallel."""


def _found(answer: Answer) -> Any:
    return answer.choices[0].get("logprobs") if answer.choices else None


def chat_logprobs(subject: Subject) -> Steps:
    """Each generated token has its log probability."""
    items = objects((yield from _chat_content(subject)))
    if items and all(isinstance(item.get("logprob"), int | float) for item in items):
        return Finding(Verdict.SUPPORTED, f"{quoted(str(items[0].get('token')))} {items[0]['logprob']:.3f}")
    return Finding(Verdict.WRONG, f"logprobs without numbers: {short(items)}")


def top_logprobs(subject: Subject) -> Steps:
    """Each generated token has the alternatives that were asked for."""
    items = objects((yield from _chat_content(subject)))
    counts = [len(objects(item.get("top_logprobs"))) for item in items]
    told = f"2 asked, {', '.join(map(str, counts)) or 'none'} came"
    return Finding(Verdict.SUPPORTED if counts and min(counts) >= 2 else Verdict.IGNORED, told)


def _chat_content(subject: Subject) -> Any:
    answer = yield from plain(subject.ask(tokens=_TOKENS, logprobs=True, top_logprobs=2))
    found = _found(answer)
    if not isinstance(found, dict) or not found.get("content"):
        if reasoning_field(answer) and not content(answer):
            raise Decided(Verdict.UNKNOWN, "the model was still reasoning, and its reasoning has none")
        raise Decided(Verdict.IGNORED, f"logprobs: {short(found)}")
    return found["content"]


def completion_logprobs(subject: Subject) -> Steps:
    """The generated tokens' log probabilities come as parallel lists, not as chat has them."""
    answer = yield from plain(subject.ask(tokens=_TOKENS, logprobs=1))
    return _in_lists(_found(answer))


def _in_lists(found: Any) -> Finding:
    if found is None:
        return Finding(Verdict.IGNORED, "logprobs: null")
    if isinstance(found, dict) and "content" in found:
        return Finding(Verdict.WRONG, f"the shape of chat: {short(found)}")
    lists = [found.get(name) for name in _LISTS] if isinstance(found, dict) else []
    lengths = [len(item) for item in lists if isinstance(item, list)]
    if len(lengths) != len(_LISTS) or len(set(lengths)) != 1 or not lengths[0]:
        return Finding(Verdict.WRONG, f"not the parallel lists {', '.join(_LISTS)}: {short(found)}")
    return Finding(Verdict.SUPPORTED, short({name: found[name] for name in _LISTS[:2]}))


def echo(subject: Subject) -> Steps:
    """The text begins with the prompt."""
    answer = yield from plain(subject.ask(tokens=1, echo=True, logprobs=1))
    text = answer.choices[0].get("text") if answer.choices else None
    verdict = Verdict.SUPPORTED if str(text).startswith(subject.story) else Verdict.IGNORED
    return Finding(verdict, f"the text is {quoted(str(text))}")


def echo_logprobs(subject: Subject) -> Steps:
    """The prompt's tokens have their log probabilities, all but the first."""
    answer = yield from plain(subject.ask(tokens=1, echo=True, logprobs=1))
    found = _found(answer)
    tokens = _tokens(found)
    if len(tokens) < 3 or not "".join(tokens).lstrip().startswith(subject.story[:4]):
        return Finding(Verdict.IGNORED, f"none of the prompt's tokens, only {short(tokens)}")
    shape = _in_lists(found)
    if shape.verdict is not Verdict.SUPPORTED:
        return shape
    numbers = found["token_logprobs"]
    if any(not isinstance(value, int | float) for value in numbers[1:]) or not any(numbers[1:]):
        return Finding(Verdict.WRONG, f"the prompt's tokens have no log probabilities: {short(numbers)}")
    return Finding(Verdict.SUPPORTED, f"{len(tokens)} tokens, the prompt's too: {short(numbers)}")


def _tokens(found: Any) -> list[str]:
    """Return the tokens that logprobs of either shape tell of."""
    if not isinstance(found, dict):
        return []
    if "content" in found:
        return [str(item.get("token")) for item in objects(found["content"])]
    return [str(token) for token in found["tokens"]] if isinstance(found.get("tokens"), list) else []


def checks(route: str) -> tuple[Check, ...]:
    """Return the checks of a generation route."""
    if route == routes.CHAT:
        return (
            Check(
                route,
                "logprobs",
                "generated tokens have log probabilities",
                chat_logprobs,
                (),
                lacking("score by text; normalize drops it"),
            ),
            Check(
                route,
                "top_logprobs",
                "they have as many alternatives as were asked for",
                top_logprobs,
                (),
                lacking("score by text"),
            ),
        )
    impossible = "take generative variants of multiple choice tasks"
    return (
        Check(
            route,
            "logprobs",
            "generated tokens have log probabilities, in parallel lists",
            completion_logprobs,
            (LOGLIKELIHOOD,),
            {**lacking(impossible), Verdict.WRONG: "normalize puts them into the right shape"},
        ),
        Check(route, "echo", "the prompt is repeated", echo, (LOGLIKELIHOOD,), lacking(impossible)),
        Check(
            route,
            "echo_logprobs",
            "the prompt's tokens have log probabilities",
            echo_logprobs,
            (LOGLIKELIHOOD,),
            lacking(impossible),
        ),
    )
