"""Findings from real databases."""

import random
import time
from typing import Any

import orjson
import pytest

from proxy.cache.place import Rules, place_of
from proxy.core.http import Payload, Request
from proxy.store import findings, reading, samples
from proxy.store.base import LOSSY_SHAPES, POOLED, EntryKey, StoredResponse, sample_pool
from proxy.store.sqlite import SqliteStore

Finding = dict[str, Any]


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "evalside.db")
    made.open()
    yield made
    made.close()


def ask(store: SqliteStore, run: str, *, asked: int = 1, served: int = 0, pool: str = POOLED, **fields: Any) -> bytes:
    """Have a run use an answer, which is stored if nobody has asked for it before."""
    first, identity = fields.pop("first", run), fields.pop("identity", "server")
    document = {"messages": [{"role": "user", "content": fields.pop("content", "hello")}], **fields}
    request = Request("POST", b"/v1/chat/completions", b"", [], Payload(orjson.dumps(document)))
    place = place_of(request, "chat", Rules(()))
    at = EntryKey(place.key(identity), pool, 0, place.shape)
    store.put(
        at,
        StoredResponse(
            status=200,
            headers=[],
            body=b"{}",
            route="chat",
            request=place.request,
            upstream_ms=1.0,
            created_at=time.time(),
            run=first,
            source=place.source(identity),
            prompt=place.prompt(),
        ),
    )
    for number in range(asked + served):
        store.count(run, at, served=number >= asked)
    return at.key


async def found(store: SqliteStore, run: str = "r", number: int = 0) -> dict[str, Finding]:
    await store.flush()
    with reading.reading(store.path) as db:
        told = findings.of_run(db, run, number)
    assert all(item["text"].endswith(".") and item["count"] >= 0 for item in told)
    return {item["finding"]: item for item in told}


async def test_a_run_that_is_as_it_should_be_has_none(store) -> None:
    ask(store, "r", seed=1)
    ask(store, "r", seed=2)
    store.saw("r", "server", "vllm", {})
    assert await found(store) == {}


async def test_repeats_of_deterministic_answers(store) -> None:
    ask(store, "r", asked=1, served=3, seed=1)
    ask(store, "r", asked=2, served=0, seed=2)
    ask(store, "r", asked=1, served=0, seed=3)
    ask(store, "r", asked=1, served=5, seed=4, pool=sample_pool("r", "00"))
    ask(store, "other", asked=1, served=5, seed=1)
    repeats = (await found(store))["repeats_collapsed"]
    assert (repeats["count"], repeats["distinct"]) == (4, 2)


async def test_the_share_that_was_replayed_and_from_where(store) -> None:
    ask(store, "r", asked=0, served=2, seed=1, first="older")
    ask(store, "r", asked=1, served=1, seed=2)
    ask(store, "r", asked=0, served=1, seed=3, pool=sample_pool("source", "00"), first="source")
    gone = ask(store, "r", asked=0, served=1, seed=4, first="older")
    await store.flush()
    await store.change(lambda db: db.execute("DELETE FROM responses WHERE key = ?", [gone]))
    replayed = (await found(store))["replayed"]
    assert (replayed["count"], replayed["of"]) == (5, 6)
    assert replayed["from"] == {"older": 0.4, "r": 0.2, "source": 0.2, "unknown": 0.2}
    assert "5 of 6 answers (83.3%)" in replayed["text"]
    assert "40.0% from run 'older'" in replayed["text"]
    assert "20.0% from this run itself" in replayed["text"]
    assert "20.0% from answers that are deleted by now" in replayed["text"]


async def test_one_answer_in_two_shapes_is_counted_once(store) -> None:
    ask(store, "r", asked=0, served=1, stream=True)
    ask(store, "r", asked=0, served=0)
    assert (await found(store))["replayed"]["from"] == {"r": 1.0}


async def test_each_pass_has_its_own(store) -> None:
    ask(store, "r", asked=1, served=2)
    await store.flush()
    await store.change(lambda db: db.execute('UPDATE runs SET "pass" = 1'))
    ask(store, "r", asked=0, served=1)
    assert (await found(store, number=0))["replayed"]["of"] == 3
    second = await found(store, number=1)
    assert second["replayed"]["of"] == 1
    assert "repeats_collapsed" not in second


async def next_pass(store: SqliteStore, run: str = "r") -> None:
    await store.flush()
    await store.change(lambda db: samples.new_pass(db, run, source=None, mode=None))


class TestRandomSeeds:
    async def test_requests_that_differ_from_another_pass_in_their_seed_alone(self, store) -> None:
        draw = random.Random(1)
        for number in range(2):
            for content in ("one", "two"):
                for _ in range(5):
                    ask(store, "r", content=content, temperature=1, seed=draw.randrange(2**31), pool="r/00")
            assert ("random_seeds" in await found(store, number=number)) is (number == 1)
            await next_pass(store)
        seeds = (await found(store, number=1))["random_seeds"]
        assert (seeds["count"], seeds["distinct"]) == (10, 2)
        assert "random seed" in seeds["text"]

    async def test_or_from_another_run_one_for_each_prompt(self, store) -> None:
        for run in ("older", "r"):
            for number in range(5):
                ask(store, run, temperature=0, content=f"question {number}", seed=hash((run, number)) % 2**31)
        assert (await found(store))["random_seeds"]["count"] == 5

    async def test_beyond_64_bits_and_whatever_they_are(self, store) -> None:
        for run in ("older", "r"):
            for number in range(4):
                ask(store, run, seed=2**62 + (number + 5 * (run == "r")) ** 3)
            ask(store, run, seed=run)
        assert (await found(store))["random_seeds"]["count"] == 5

    @pytest.mark.parametrize(
        "seeds",
        [
            [11, 57, 93, 4, 1234567890],  # a list of its own, which is the same in each pass
            [0, 1, 2, 3, 4],  # a counter, which starts anew with every pass
            [None] * 5,
        ],
    )
    @pytest.mark.parametrize("pool", [POOLED, "r/00"])
    async def test_is_not_said_of_seeds_that_come_again(self, store, seeds, pool) -> None:
        for number in range(2):
            for seed in seeds:
                ask(store, "r", seed=seed, pool=pool, asked=int(number == 0), served=number)
            assert "random_seeds" not in await found(store, number=number)
            await next_pass(store)

    async def test_nor_where_another_run_asked_with_the_same_ones(self, store) -> None:
        """Each run keeps samples of its own, so that none of them is a hit."""
        for run in ("older", "r"):
            for seed in (5, 17, 99, 4, 3):
                ask(store, run, seed=seed, pool=f"{run}/00")
        assert await found(store) == {}

    async def test_nor_where_the_server_was_another(self, store) -> None:
        for identity in ("a server", "another server"):
            for seed in (5, 17, 99, 4, 3):
                ask(store, "r", seed=seed, identity=identity)
            await next_pass(store)
        assert "random_seeds" not in await found(store, number=1)

    async def test_nor_of_too_few(self, store) -> None:
        for run in ("older", "r"):
            for number in range(4):
                ask(store, run, seed=f"{run} {number}")
        assert "random_seeds" not in await found(store)

    async def test_nor_where_another_field_differs(self, store) -> None:
        for run in ("older", "r"):
            for number in range(5):
                ask(store, run, seed=f"{run} {number}", top_k=run)
        assert await found(store) == {}

    async def test_nor_of_a_field_of_that_name_deeper_down(self, store) -> None:
        for run in ("older", "r"):
            for number in (5, 17, 99, 4, 3):
                ask(store, run, extra={"seed": f"{run} {number}"})
        assert await found(store) == {}

    async def test_nor_where_the_proof_may_not_have_been_looked_at(self, store, monkeypatch) -> None:
        for run in ("older", "r"):
            for number in range(5):
                ask(store, run, content="one", seed=f"{run} {number}")
                ask(store, run, content="two", seed=f"{run} {number}")
        assert (await found(store))["random_seeds"]["count"] == 10
        cut = findings._NEIGHBORHOODS.replace(f"LIMIT {findings._NEIGHBORS}", "LIMIT 15")
        monkeypatch.setattr(findings, "_NEIGHBORHOODS", cut)
        monkeypatch.setattr(findings, "_NEIGHBORS", 15)
        assert (await found(store))["random_seeds"]["count"] == 5


async def test_answers_in_another_shape_that_would_lose_something(store) -> None:
    for _ in range(3):
        store.observe("r", {LOSSY_SHAPES: 1})
    await next_pass(store)
    store.observe("r", {"responses": 1})
    lossy = (await found(store))["lossy_shapes"]
    assert lossy["count"] == 3
    assert "3 requests were asked though their answer is stored" in lossy["text"]
    assert await found(store, number=1) == {}


async def test_mixed_identity(store) -> None:
    store.saw("r", "server-a", "vllm", {"version": "1", "root": "llama"})
    store.saw("r", "server-b", "vllm", {"version": "2", "root": "llama"})
    mixed = (await found(store))["mixed_identity"]
    assert mixed["count"] == 2
    assert [item["identity"] for item in mixed["identities"]] == ["server-a", "server-b"]
    assert mixed["differs"] == {"version": ["1", "2"]}
    assert "They differ in version." in mixed["text"]


async def test_mixed_identity_without_facts(store) -> None:
    for name in ("a", "b"):
        store.saw("r", name, "unknown", {})
    mixed = (await found(store))["mixed_identity"]
    assert mixed["differs"] == {}
    assert "does not differ" in mixed["text"]


async def test_verifications(store) -> None:
    for number in range(20):
        store.verified("r", bytes([number]) * 32, "content" if number in {3, 7} else None)
    store.verified("other", b"o" * 32, "content")
    verify = (await found(store))["verify"]
    assert (verify["count"], verify["of"], verify["agreed"], verify["rate"]) == (2, 20, 18, 0.1)
    assert verify["interval"] == [pytest.approx(0.0279, abs=1e-4), pytest.approx(0.3010, abs=1e-4)]
    assert [(item["key"], item["differs"]) for item in verify["examples"]] == [
        ("07" * 32, "content"),
        ("03" * 32, "content"),
    ]
    assert "2 of 20" in verify["text"]


async def test_uses_and_neighbors_are_found_through_an_index(store) -> None:
    queries = {
        findings._USES: ["r", 0],
        findings._ORIGINS: ["r", 0],
        findings._NEIGHBORHOODS: ["r", 0, "r", 0],
    }
    with reading.reading(store.path) as db:
        for sql, values in queries.items():
            steps = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()]
            assert any(step.startswith("SEARCH uses USING") for step in steps)
            results = {f"SCAN {name}" for name in ("asked", "used", "uses")}  # of a step before, not of a table
            whole = [step for step in steps if step.startswith("SCAN") and step not in results]
            assert whole == [], steps
