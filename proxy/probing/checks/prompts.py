"""The four forms of a prompt on /v1/completions, and what is counted of several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.probing.check import LOGLIKELIHOOD, Check, Finding, Steps, lacking, plain
from proxy.probing.checks.tokens import known_ids
from proxy.probing.subject import Subject
from proxy.wire import routes
from proxy.wire.profile import Verdict

_TOKENS = 2
_IDS = [100, 101, 102, 103, 104, 105]
"""Every vocabulary has them; the server's own for the story are better."""
_TEXTS = ["One, two,", "Three, four,"]


def _several(*prompts: Any) -> Callable[[Subject], Steps]:
    def steps(subject: Subject) -> Steps:
        answer = yield from plain(subject.ask(list(prompts), tokens=_TOKENS))
        count = len(answer.choices)
        told = f"{len(prompts)} prompts, {count} choices"
        return Finding(Verdict.SUPPORTED if count == len(prompts) else Verdict.WRONG, told)

    return steps


def prompt_ids(subject: Subject) -> Steps:
    """A list of token ids is one prompt of so many tokens."""
    ids = (yield from known_ids(subject, subject.story)) or _IDS
    answer = yield from plain(subject.ask(ids, tokens=_TOKENS))
    count = answer.usage("prompt_tokens")
    told = f"{len(ids)} ids, prompt_tokens {count}, {len(answer.choices)} choices"
    fits = len(answer.choices) == 1 and count in {None, len(ids), len(ids) + 1}  # one more is the BOS token
    return Finding(Verdict.SUPPORTED if fits else Verdict.WRONG, told)


def batch_usage(subject: Subject) -> Steps:
    """Twice the same prompt has twice its tokens."""
    one = yield from plain(subject.ask(tokens=_TOKENS))
    both = yield from plain(subject.ask([subject.story, subject.story], tokens=_TOKENS))
    single, count = one.usage("prompt_tokens"), both.usage("prompt_tokens")
    told = f"one prompt {single}, two of it {count}"
    if single is None or count is None or len(both.choices) != 2:
        return Finding(Verdict.UNKNOWN, told)
    return Finding(Verdict.SUPPORTED if count == 2 * single else Verdict.WRONG, told)


def checks(route: str) -> tuple[Check, ...]:
    """Return the checks of a generation route; chat has none."""
    if route == routes.CHAT:
        return ()
    singly = "send one prompt a request (lm-eval: batch_size=1)"
    as_text = "send text (lm-eval: tokenized_requests=False)"
    return (
        Check(route, "prompt_list", "a list of texts has as many choices", _several(*_TEXTS), (), lacking(singly)),
        Check(
            route,
            "prompt_ids",
            "a list of token ids is one prompt of so many tokens",
            prompt_ids,
            (LOGLIKELIHOOD,),
            lacking(as_text),
        ),
        Check(
            route,
            "prompt_ids_list",
            "a list of lists of token ids has as many choices",
            _several(_IDS[:3], _IDS[3:]),
            (LOGLIKELIHOOD,),
            lacking(as_text),
        ),
        Check(
            route,
            "batch_usage",
            "usage counts all prompts",
            batch_usage,
            (),
            lacking("do not trust token counts of batches"),
        ),
    )
