"""Waits for what another process or thread does."""

import asyncio
import time
from collections.abc import Callable


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Returns as soon as `condition` holds, and fails the test if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true in {seconds:g} s"
        time.sleep(0.01)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """`wait_for` on the event loop that brings about what is waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true in {seconds:g} s"
        await asyncio.sleep(0.002)
