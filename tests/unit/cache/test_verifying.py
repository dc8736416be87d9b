import asyncio
from collections.abc import Iterator

import pytest

from proxy.cache import verifying
from proxy.cache.identities import Always
from proxy.cache.verifying import Verifier
from proxy.core.errors import UpstreamUnreachable
from proxy.core.http import Exchange, Response
from proxy.store.memory import MemoryStore
from tests.unit.cache.parts import (
    NAMED,
    PROBED,
    Source,
    Watchman,
    answering,
    asked,
    at,
    exchange,
    plain,
    response,
    stored,
)


class Watched(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.seen: asyncio.Queue[tuple[str, str | None]] = asyncio.Queue()

    def verified(self, run: str, key: bytes, differs: str | None, /) -> None:
        self.seen.put_nowait((run, differs))


async def test_each_hit_is_asked_again_one_after_the_other() -> None:
    store, running = Watched(), 0

    async def again(asked: Exchange) -> Response:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0)
        running -= 1
        return response(plain("new"))

    verifier = Verifier(store, Always(NAMED), 1)
    for text in ("old", "new", "old"):
        verifier.served(asked("verify", call_next=again, exchange=exchange(run="r")), at(), stored(plain(text)))
    assert [await store.seen.get() for _ in range(3)] == [("r", "content"), ("r", None), ("r", "content")]
    await verifier.aclose()


async def test_what_has_no_answer_counts_neither_way() -> None:
    store = Watched()
    answers: Iterator[Response | Exception] = iter(
        [response(b"{}", 500), response(b"x"), UpstreamUnreachable("gone"), response()]
    )

    async def again(asked: Exchange) -> Response:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    verifier = Verifier(store, Always(NAMED), 1)
    for _ in range(4):
        verifier.served(asked("verify", call_next=again), at(), stored(plain()))
    assert await store.seen.get() == ("default", None)
    assert next(answers, None) is None
    await verifier.aclose()


async def test_a_share_is_asked_again_and_no_more_than_can_wait(monkeypatch) -> None:
    size = verifying._LEAST + len(plain()) + len(exchange().request.body.raw)
    monkeypatch.setattr(verifying, "BACKLOG", 2 * size)
    store = Watched()
    never = Verifier(store, Always(NAMED), 0)
    never.served(asked("verify"), at(), stored(plain()))
    await never.aclose()
    some = Verifier(store, Always(NAMED), 0.5)
    for drawn in (0.4, 0.6, 0.5, 0.1, 0.2):
        monkeypatch.setattr("proxy.cache.verifying.random.random", lambda drawn=drawn: drawn)
        some.served(asked("verify"), at(), stored(plain()))
    assert [await store.seen.get() for _ in range(2)] == [("default", None)] * 2
    assert store.seen.empty()
    assert store.losses.checks_dropped == 1
    some.served(asked("verify"), at(), stored(plain()))  # there is room again
    assert await store.seen.get() == ("default", None)
    await some.aclose()


async def test_what_another_model_server_may_have_said_counts_neither_way() -> None:
    """It was restarted between the hit and the second answer."""
    store, watchman = Watched(), Watchman()
    verifier = Verifier(store, watchman, 1)
    for same in (False, True):
        verifier.served(
            asked("verify", identity=PROBED, call_next=answering(response(plain("new")))), at(), stored(plain("old"))
        )
        await watchman.decide(same=same)
    assert await store.seen.get() == ("default", "content")
    assert store.seen.empty()
    await verifier.aclose()


async def test_at_the_end_it_hangs_up() -> None:
    store, source = Watched(), Source()

    async def again(asked: Exchange) -> Response:
        stream = source.stream()
        asked.owns(stream)
        return response(stream)

    verifier = Verifier(store, Always(NAMED), 1)
    verifier.served(asked("verify", call_next=again), at(), stored(plain()))
    for _ in range(3):
        await asyncio.sleep(0)
    await verifier.aclose()
    assert source.closed.is_set()
    with pytest.raises(asyncio.QueueEmpty):
        store.seen.get_nowait()
