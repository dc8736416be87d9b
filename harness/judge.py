"""The model that grades: an endpoint of its own, in a sidecar run of its own, with limits of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from harness.api import EndpointType
from harness.asked import Asked, connected, settle
from harness.asker import SAMPLE, Asker
from harness.errors import JudgeError
from harness.tasks.base import Ask

_CALLS_PER_SAMPLE = 64


@asynccontextmanager
async def judging(asked: Asked) -> AsyncIterator[Callable[[int], Ask]]:
    """The way to ask a judge, for the sample at a place in the task, while the block is open.

    Its requests are samples of the judge's run that no other sample of the task shares, whatever the order in which
    they are asked, so that a run that is interrupted and goes on gets the same verdicts.
    """
    asked = await settle(asked)
    gate = asyncio.Semaphore(asked.parallelism)
    async with connected(asked) as asker:
        yield lambda place: _Judge(asker, asked, gate, place)


class _Judge:
    """Asks for one sample. A request says what the judge's parameters say; they are the user's word."""

    def __init__(self, asker: Asker, asked: Asked, gate: asyncio.Semaphore, place: int) -> None:
        self._asker = asker
        self._asked = asked
        self._gate = gate
        self._next = place * _CALLS_PER_SAMPLE

    async def __call__(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The judge's words. Raises JudgeError if it gives none."""
        body = self._asked.model() | {"temperature": 0} | _prompt(messages, self._asked.kind) | self._asked.fields()
        headers = {SAMPLE: str(self._next)}
        self._next += 1
        async with self._gate:
            answer = await self._asker.ask(body, headers)
        if answer.error is not None:
            raise JudgeError(f"the judge gave no verdict: {answer.error}")
        return answer.text


def _prompt(messages: Sequence[Mapping[str, Any]], kind: EndpointType) -> dict[str, Any]:
    if kind is EndpointType.COMPLETIONS:
        return {"prompt": "\n\n".join(str(message.get("content", "")) for message in messages)}
    return {"messages": [dict(message) for message in messages]}
