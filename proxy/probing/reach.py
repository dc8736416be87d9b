"""The first requests: whether anything that can be probed answers, and which model is asked."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

from proxy.probing.answers import Answer, Ask
from proxy.probing.check import refusal
from proxy.probing.checks.server import MODELS, listed

_DENIED = frozenset({401, 403})
_LOADING = frozenset({502, 503, 504})


class Unreachable(Exception):
    """Nothing can be probed. The message says what is wrong and the way out."""


class Reached(NamedTuple):
    """An endpoint that answers."""

    model: str | None
    """None where none was named and none is listed."""
    others: list[str]
    """Further models that it lists."""


def reach(url: str, model: str | None, *, has_key: bool) -> Generator[Ask, Answer, Reached]:
    """Return what there is to probe. A generator without IO, as checks are.

    Raises:
        Unreachable: there is no answer, it needs another key, or the server is not ready.
    """
    answer = yield Ask(MODELS)
    check_ready(url, answer, has_key=has_key)
    names = listed(answer)
    chosen = model if model is not None else next(iter(names), None)
    return Reached(chosen, [name for name in names if name != chosen])


def check_ready(url: str, answer: Answer, *, has_key: bool) -> None:
    """Raise where an answer says that nothing else can be asked."""
    if answer.failure:
        raise Unreachable(answer.failure)
    if answer.status in _DENIED:
        way_out = (
            "the key is not accepted; check the variable that --api-key-name names"
            if has_key
            else "it asks for a key; put it into a variable and name that with --api-key-name"
        )
        raise Unreachable(f"{url} answered {refusal(answer)}; {way_out}")
    if answer.status in _LOADING:
        raise Unreachable(
            f"{url} is not ready: {refusal(answer)}; it may still be loading the model, try again in a minute"
        )
    if answer.status == 429:
        raise Unreachable(f"{url} answered {refusal(answer)}; it lets nobody in now, try again later")


def check_address(url: str, answers: list[Answer], *, has_key: bool) -> None:
    """Raise where no generation route is there, which means a wrong URL, or where it lets nobody in.

    Args:
        url: for the message.
        answers: to the list of models, and to a first request on each generation route.
        has_key: whether they carried a key.
    """
    if all(answer.status in {404, 405} for answer in answers):
        raise Unreachable(
            f"there is nothing OpenAI-compatible at {url}: /v1/models and the generation routes are all 404; give the"
            " server's origin, or the address that ends with its /v1"
        )
    for answer in answers:
        if answer.status in _DENIED:
            check_ready(url, answer, has_key=has_key)
