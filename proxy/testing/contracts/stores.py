"""What the pipeline relies on in a store."""

import asyncio
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from proxy.store.base import (
    NOBODY,
    POOLED,
    Candidate,
    EntryKey,
    ExchangeRecord,
    Lease,
    RunState,
    Sequence,
    StoredResponse,
)

KEY = bytes(range(32))
FIRST = EntryKey(KEY, POOLED, 0, "plain")


def answer(body: bytes = b'{"answer": 1}') -> StoredResponse:
    """Return an answer to keep."""
    headers = [(b"content-type", b"application/json"), (b"x-twice", b"1"), (b"x-twice", b"\xe9")]
    return StoredResponse(200, headers, body, "chat", b'{"model":"m"}', 1.5, 1000.0)


def record(exchange_id: str, **facts: Any) -> ExchangeRecord:
    """Return a record to log."""
    return ExchangeRecord(exchange_id, None, 1000.0, "POST", "/v1/chat/completions", "chat", **facts)


class _StoreContract(ABC):
    @abstractmethod
    def opened(self, folder: Path) -> AbstractAsyncContextManager[Any]:
        """Open the store on what `folder` holds; it is closed when the context ends."""

    persistent: ClassVar[bool] = True
    """Whether what was written is there when the store is opened again."""


class ResponseStoreContract(_StoreContract):
    """What the pipeline relies on in a `ResponseStore`."""

    async def test_an_unknown_key_is_none(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            assert await store.get(FIRST) is None

    async def test_what_is_put_is_read_at_once(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            store.put(FIRST, answer())
            assert await store.get(FIRST) == answer()

    @pytest.mark.parametrize("body", [b"", b"\x00\xff", b"x" * 100_000], ids=["empty", "binary", "long"])
    async def test_an_answer_comes_back_byte_for_byte(self, tmp_path: Path, body: bytes) -> None:
        async with self.opened(tmp_path) as store:
            store.put(FIRST, answer(body))
            await store.flush()
            assert await store.get(FIRST) == answer(body)

    async def test_an_answer_is_never_overwritten(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            store.put(FIRST, answer(b"first"))
            store.put(FIRST, answer(b"second"))
            await store.flush()
            store.put(FIRST, answer(b"third"))
            await store.flush()
            assert (await store.get(FIRST)).body == b"first"

    async def test_every_part_of_the_place_counts(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            store.put(FIRST, answer())
            await store.flush()
            for other in ({"key": bytes(32)}, {"pool": "run"}, {"sample": 1}, {"shape": "sse"}):
                assert await store.get(FIRST._replace(**other)) is None

    async def test_samples_take_the_next_free_index(self, tmp_path: Path) -> None:
        sampled = FIRST._replace(pool="run", sample=None)
        async with self.opened(tmp_path) as store:
            for number in range(3):
                store.put(sampled, answer(b"%d" % number))
            store.put(sampled._replace(pool="other"), answer(b"other"))
            await store.flush()
            kept = [await store.get(sampled._replace(sample=number)) for number in range(4)]
        assert [found and found.body for found in kept] == [b"0", b"1", b"2", None]

    async def test_what_is_flushed_is_there_again_after_a_restart(self, tmp_path: Path) -> None:
        if not self.persistent:
            pytest.skip("it forgets at exit")
        async with self.opened(tmp_path) as store:
            store.put(FIRST, answer())
            await store.flush()
        async with self.opened(tmp_path) as store:
            assert await store.get(FIRST) == answer()


SAMPLED = Sequence("run", "0123abcd", KEY)


class RunStoreContract(_StoreContract):
    """What the pipeline relies on in a `RunStore`."""

    @abstractmethod
    async def new_pass(self, store: Any, run: str, source: str | None = None, mode: str | None = None) -> None:
        """Begin the run's next pass; one that is not there is made, from `source` where one is given."""

    async def use(self, store: Any, of: Sequence = SAMPLED, body: bytes | None = None) -> int:
        """Take the next sample and use it up, with an answer to keep where there is one; return its index."""
        lease: Lease = await store.take(of)
        at = EntryKey(of.key, lease.pool, lease.sample, "plain")
        store.settle(lease, used=True, answer=None if body is None else (at, answer(body)))
        await store.flush()
        return lease.sample

    async def kept(self, store: Any, lease: Lease) -> bytes | None:
        """Return the body of the answer of a lease, wherever it is."""
        for pool in lease.pools:
            found = await store.get(EntryKey(lease.of.key, pool, lease.sample, "plain"))
            if found is not None:
                return bytes(found.body)
        return None

    async def test_a_run_that_is_not_there_is_as_new(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            assert await store.run("run") == RunState(0, None, None)
            assert await store.identities("run") == []

    async def test_samples_are_leased_in_order(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            leases = [await store.take(SAMPLED) for _ in range(3)]
            assert [lease.sample for lease in leases] == [0, 1, 2]
            assert len({lease.holder for lease in leases}) == 3
            for other in (
                SAMPLED._replace(run="other"),
                SAMPLED._replace(received="0"),
                SAMPLED._replace(key=bytes(32)),
            ):
                assert (await store.take(other)).sample == 0

    async def test_the_lowest_sample_that_was_given_back_comes_first(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            leases = [await store.take(SAMPLED) for _ in range(4)]
            for lease in (leases[2], leases[1]):
                store.settle(lease, used=False)
            assert [(await store.take(SAMPLED)).sample for _ in range(3)] == [1, 2, 4]

    async def test_a_sample_that_is_used_up_comes_once_in_a_pass(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            assert [await self.use(store, body=b"%d" % number) for number in range(3)] == [0, 1, 2]

    async def test_a_new_pass_replays_in_order_and_goes_on(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            for number in range(3):
                await self.use(store, body=b"%d" % number)
            await self.new_pass(store, "run", mode="read")
            assert await store.run("run") == RunState(1, None, "read")
            leases = [await store.take(SAMPLED) for _ in range(4)]
            assert [await self.kept(store, lease) for lease in leases] == [b"0", b"1", b"2", None]
            await self.new_pass(store, "run")
            assert await store.run("run") == RunState(2, None, "read")

    async def test_what_was_leased_in_an_earlier_pass_changes_nothing_in_this_one(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            old = await store.take(SAMPLED)
            await self.new_pass(store, "run")
            new = await store.take(SAMPLED)
            store.settle(old, used=False)
            assert (new.sample, (await store.take(SAMPLED)).sample) == (0, 1)

    async def test_a_replay_skips_holes_and_a_new_pass_fills_them(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            for number in range(5):
                await self.use(store, body=None if number in {0, 2} else b"%d" % number)
            await self.new_pass(store, "run")
            recorded = [await store.take_recorded(SAMPLED) for _ in range(4)]
            assert [lease and lease.sample for lease in recorded] == [1, 3, 4, None]
            await self.new_pass(store, "run")
            assert [(await store.take(SAMPLED)).sample for _ in range(6)] == [0, 1, 2, 3, 4, 5]

    async def test_a_sample_that_is_given_back_with_its_answer_is_the_next(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            first, second = await store.take(SAMPLED), await store.take(SAMPLED)
            store.settle(first, used=False)
            at = EntryKey(KEY, second.pool, second.sample, "plain")
            store.settle(second, used=False, answer=(at, answer(b"kept")))
            assert await self.kept(store, second) == b"kept"
            assert [(await store.take(SAMPLED)).sample for _ in range(3)] == [0, 1, 2]

    async def test_a_sample_that_was_given_back_with_its_answer_is_replayed(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            first, second = await store.take(SAMPLED), await store.take(SAMPLED)
            store.settle(first, used=False)
            store.settle(second, used=False, answer=(EntryKey(KEY, second.pool, 1, "plain"), answer(b"kept")))
            recorded = [await store.take_recorded(SAMPLED) for _ in range(2)]
            assert [lease and lease.sample for lease in recorded] == [1, None]

    async def test_a_named_sample_moves_no_counter_and_is_leased_to_one(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            named = await store.claim(SAMPLED, 1)
            assert (named.sample, named.of, bool(named.holder)) == (1, SAMPLED, True)
            assert await store.claim(SAMPLED, 1) is None
            assert [(await store.take(SAMPLED)).sample for _ in range(2)] == [0, 2]  # not what another request holds
            store.settle(named, used=True, answer=(EntryKey(KEY, named.pool, 1, "plain"), answer(b"named")))
            again = await store.claim(SAMPLED, 1)
            assert (again.holder, await self.kept(store, again)) == ("", b"named")

    async def test_a_named_sample_that_is_given_back_waits_for_its_turn(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            store.settle(await store.claim(SAMPLED, 2), used=False)
            assert [(await store.take(SAMPLED)).sample for _ in range(4)] == [0, 1, 2, 3]

    async def test_an_answer_of_a_pass_that_has_ended_is_not_kept(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            old = await store.take(SAMPLED)
            await self.new_pass(store, "run")
            assert await self.use(store, body=b"new") == 0
            store.settle(old, used=True, answer=(EntryKey(KEY, old.pool, 0, "plain"), answer(b"old")))
            await store.flush()
            assert await self.kept(store, old) == b"new"

    async def test_a_run_replays_those_it_was_made_from_and_keeps_its_own(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            for number in range(2):
                await self.use(store, body=b"a%d" % number)
            await self.new_pass(store, "b", source="run")
            assert await store.run("b") == RunState(0, "run", None)
            heir = SAMPLED._replace(run="b")
            assert [await self.use(store, heir), await self.use(store, heir)] == [0, 1]
            assert await self.use(store, heir, b"b2") == 2
            assert await self.use(store, body=b"a2") == 2
            await self.new_pass(store, "b")
            leases = [await store.take(heir) for _ in range(4)]
            assert [await self.kept(store, lease) for lease in leases] == [b"a0", b"a1", b"b2", None]

    async def test_an_answer_is_only_replaced_where_that_is_meant(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            for body, replace, expected in ((b"1", False, b"1"), (b"2", False, b"1"), (b"3", True, b"3")):
                lease = await store.claim(SAMPLED, 0)
                at = EntryKey(KEY, lease.pool, 0, "plain")
                store.settle(lease, used=True, answer=(at, answer(body)), replace=replace)
                assert await self.kept(store, lease) == expected
                await store.flush()
                assert await self.kept(store, lease) == expected

    async def test_an_answer_that_is_held_is_served_from_its_decision_on(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            leases = [await store.take(SAMPLED) for _ in range(3)]
            held = [
                Candidate(EntryKey(KEY, lease.pool, lease.sample, "plain"), answer(b"held"), lease=lease, used=used)
                for lease, used in zip(leases, (True, False, True), strict=True)
            ]
            for it in held:
                store.hold(it)
            await store.flush()
            assert [await self.kept(store, lease) for lease in leases] == [None] * 3
            assert (await store.take(SAMPLED)).sample == 3
            for it, kept in zip(held, (True, True, False), strict=True):
                store.decide(it, kept=kept)
            assert [await self.kept(store, lease) for lease in leases] == [b"held", b"held", None]
            await store.flush()
            assert [await self.kept(store, lease) for lease in leases] == [b"held", b"held", None]
            assert [(await store.take(SAMPLED)).sample for _ in range(3)] == [1, 2, 4]  # what no client had

    async def test_what_was_leased_to_be_served_may_be_asked_for_and_the_reverse(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            await self.use(store, body=b"0")
            await self.new_pass(store, "run")
            lease = await store.take(SAMPLED)
            assert lease.replayed
            for replayed in (False, True):
                lease = await store.mark(lease, replayed=replayed)
                assert lease.replayed is replayed
            store.settle(lease, used=False)
            again = await store.take(SAMPLED, serves=False)
            assert (again.sample, again.replayed) == (0, False)

    async def test_nothing_is_left_where_nobody_was_before(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            await store.look()
            assert not store.left
            await store.adopt(NOBODY, "", lambda name: True)

    async def test_the_model_servers_of_a_run_and_of_those_it_was_made_from(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            for name in ("x", "y", "x"):
                store.saw("run", name, "vllm", {"version": "1"})
            await self.new_pass(store, "b", source="run")
            store.saw("b", "z", "vllm", {})
            await store.flush()
            assert await store.identities("run") == ["y", "x"]
            assert await store.identities("b") == ["z", "y", "x"]
            assert await store.identities("new") == ["z", "y", "x"]  # whatever there is

    async def test_leases_of_a_store_that_was_closed_are_free(self, tmp_path: Path) -> None:
        if not self.persistent:
            pytest.skip("it forgets at exit")
        async with self.opened(tmp_path) as store:
            await self.use(store, body=b"0")
            assert (await store.take(SAMPLED)).sample == 1
        async with self.opened(tmp_path) as store:
            assert [(await store.take(SAMPLED)).sample for _ in range(2)] == [1, 2]


class ExchangeLogContract(_StoreContract):
    """What the pipeline relies on in an `ExchangeLog`."""

    @abstractmethod
    async def records(self, store: Any) -> list[str]:
        """Return the ids of the records that the log holds, oldest first."""

    async def test_what_is_flushed_is_in_the_log(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            store.append(record("a"))
            store.append(record("b", status=200, request_body=b"\xff", response_headers=[(b"a", b"\xe9")]))
            await store.flush()
            assert await self.records(store) == ["a", "b"]

    async def test_flushing_nothing_returns(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            await asyncio.wait_for(store.flush(), 5)
