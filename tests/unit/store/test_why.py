"""Explanations of misses, from real databases."""

import dataclasses
import hashlib
import time
from typing import Any

import orjson
import pytest

from proxy.cache.place import Place, Rules, place_of
from proxy.core.http import Payload, Request
from proxy.store import reading, why
from proxy.store.base import POOLED, Candidate, EntryKey, ExchangeRecord, StoredResponse, sample_pool
from proxy.store.sqlite import SqliteStore

CHAT = b"/v1/chat/completions"
BETA = (b"openai-beta", b"assistants=v2")


def body(content: str = "hello", **fields: Any) -> bytes:
    return orjson.dumps({"model": "m", "messages": [{"role": "user", "content": content}], "temperature": 0, **fields})


def place(raw: bytes, *, headers: list | None = None, query: bytes = b"") -> Place:
    rules = Rules((BETA[0],))
    return place_of(Request("POST", CHAT, query, headers or [], Payload(raw)), "chat", rules)


class Shop:
    """A store with entries and a log."""

    def __init__(self, path) -> None:
        self.store = SqliteStore(path)
        self.store.open()

    def keep(self, raw: bytes, identity: str = "server-a", *, pool: str = POOLED, sample: int = 0, **more: Any) -> None:
        kept = place(raw, headers=more.get("headers"), query=more.get("query", b""))
        response = StoredResponse(
            status=200,
            headers=[],
            body=b"{}",
            route="chat",
            request=kept.request,
            upstream_ms=1.0,
            created_at=more.get("at", time.time() - 100),
            run=more.get("run", "default"),
            source=kept.source(identity),
            prompt=kept.prompt(),
        )
        self.store.put(EntryKey(kept.key(identity), pool, sample, kept.shape), response)

    def miss(self, raw: bytes | None, identity: str | None = "server-a", **more: Any) -> str:
        sent = more.get("sent", "").encode()
        key = place(raw, headers=more.get("headers"), query=sent).key(identity).hex() if raw and identity else None
        record = ExchangeRecord(
            id=f"exchange-{time.monotonic_ns()}",
            run=more.get("run"),
            started_at=time.time() - 50,
            method="POST",
            path=more.get("path", CHAT.decode()) + more.get("query", ""),
            route=more.get("route", "chat"),
            changes=more.get("changes"),
            cache="miss",
            cache_key=more.get("cache_key", key),
            sample=more.get("sample"),
            reason=more.get("reason"),
            request_headers=more.get("headers", []),
            request_body=more.get("received", raw),
            sent_body=raw if "received" in more else None,
        )
        self.store.append(record)
        return record.id

    async def why(self, exchange: str) -> dict[str, Any]:
        await self.store.flush()
        with reading.reading(self.store.path) as db:
            row = reading.exchange_row(db, exchange)
            assert row is not None
            return why.of_exchange(row, [db], [BETA[0].decode()])

    async def fields(self, exchange: str) -> dict[str, tuple[str | None, str | None]]:
        told = await self.why(exchange)
        return {field["field"]: (field["asked"], field["stored"]) for field in told["nearest"]["fields"]}


@pytest.fixture
def shop(tmp_path):
    made = Shop(tmp_path / "evalside.db")
    yield made
    made.store.close()


async def test_the_fields_that_differ_are_named(shop) -> None:
    shop.keep(body(seed=1, stop=["x"]))
    asked = shop.miss(body(seed=2, logprobs=True))
    assert await shop.fields(asked) == {"seed": ("2", "1"), "logprobs": ("true", None), "stop": (None, '["x"]')}


async def test_the_nearest_has_the_fewest_differences_and_is_the_newest_of_several(shop) -> None:
    shop.keep(body(seed=1, n=2), at=time.time() - 60)
    shop.keep(body(seed=3))
    shop.keep(body(seed=4))
    told = await shop.why(shop.miss(body(seed=2)))
    assert [field["stored"] for field in told["nearest"]["fields"]] == ["4"]
    assert told["compared"] == 3
    assert "1 field differs: seed (asked 2, stored 4)." in told["text"]


async def test_the_answer_that_the_miss_itself_brought_is_not_its_neighbor(shop) -> None:
    raw = body()
    asked = shop.miss(raw)
    shop.keep(raw, at=time.time())
    told = await shop.why(asked)
    assert (told["nearest"], told["compared"]) == (None, 0)
    assert "Nothing like it is stored." in told["text"]


async def test_what_was_stored_later_is_told_only_where_nothing_was_before(shop) -> None:
    asked = shop.miss(body(seed=2))
    shop.keep(body(seed=1), at=time.time())
    told = await shop.why(asked)
    assert told["nearest"]["later"] is True
    assert "after this request" in told["text"]
    shop.keep(body(seed=1, n=2))
    told = await shop.why(asked)
    assert (told["nearest"]["later"], len(told["nearest"]["fields"])) == (False, 2)


async def test_one_of_the_same_key_that_was_there_before_is(shop) -> None:
    shop.keep(body())
    told = await shop.why(shop.miss(body(), reason="mode write"))
    assert told["nearest"]["fields"] == []
    assert told["reason"] == "mode write"
    assert told["text"].startswith("The cache says: mode write. ")
    assert "Nothing differs" in told["text"]


async def test_without_the_same_prompt_it_is_one_of_the_same_route(shop) -> None:
    shop.keep(body("another question"))
    assert list(await shop.fields(shop.miss(body("hello")))) == ["messages[0].content"]


async def test_another_model_server_with_the_facts_that_differ(shop) -> None:
    shop.store.saw("r", "server-a", "vllm", {"models[m].root": "llama", "version": "1"})
    shop.store.saw("r", "server-b", "vllm", {"models[m].root": "qwen", "version": "1"})
    shop.keep(body(), "server-a")
    told = await shop.why(shop.miss(body(), "server-b"))
    [field] = told["nearest"]["fields"]
    assert (field["field"], field["asked"], field["stored"]) == ("identity", '"server-b"', '"server-a"')
    assert field["facts"] == [{"field": "models[m].root", "asked": '"qwen"', "stored": '"llama"'}]


async def test_an_identity_that_nobody_noted_is_said_to_be_unknown(shop) -> None:
    shop.keep(body(), "server-a")
    asked = shop.miss(body(), "server-nobody-saw")
    assert await shop.fields(asked) == {"identity": ("unknown", '"server-a"')}


async def test_where_there_was_no_key_the_identity_is_not_compared(shop) -> None:
    shop.keep(body(seed=1))
    asked = shop.miss(body(seed=2), None, reason="the model server is not known")
    assert list(await shop.fields(asked)) == ["seed"]


class TestSecretsOfTheQuery:
    """The log holds `[redacted]` in their place, the key a hash of them."""

    logged = "?a=%7E&api_key=[redacted]"

    async def test_the_same_one_is_no_difference(self, shop) -> None:
        shop.keep(body(seed=1), query=b"a=%7E&api_key=sk-other")
        shop.keep(body(seed=2), query=b"a=%7E&api_key=sk-mine")
        asked = shop.miss(body(seed=3), query=self.logged, sent="a=%7E&api_key=sk-mine")
        assert await shop.fields(asked) == {"seed": ("3", "2")}

    async def test_another_one_is_a_difference_with_neither_shown(self, shop) -> None:
        shop.keep(body(), query=b"a=%7E&api_key=sk-other")
        asked = shop.miss(body(), query=self.logged, sent="a=%7E&api_key=sk-mine")
        assert await shop.fields(asked) == {
            "query (secrets)": ("unknown", "unknown"),
            "identity": ("unknown", '"server-a"'),  # one of the two, at least
        }

    async def test_what_else_differs_in_the_query_is_shown(self, shop) -> None:
        shop.keep(body(), query=b"a=1&api_key=sk-mine")
        fields = await shop.fields(shop.miss(body(), query=self.logged, sent="a=%7E&api_key=sk-mine"))
        asked, stored = fields["query"]
        assert asked == '"a=%7E&api_key=[redacted]"'
        assert stored is not None
        assert stored.startswith('"a=1&api_key=sha256-')

    async def test_of_a_request_that_was_answered_the_key_proves_it(self, shop) -> None:
        shop.keep(body(), query=b"a=%7E&api_key=sk-mine", at=time.time())
        shop.keep(body(seed=1), query=b"a=%7E&api_key=sk-mine")
        asked = shop.miss(body(), query=self.logged, sent="a=%7E&api_key=sk-mine")
        assert await shop.fields(asked) == {"seed": (None, "1")}


async def test_query_and_key_headers(shop) -> None:
    shop.keep(body(), headers=[BETA, (BETA[0], b"more")], query=b"a=1")
    assert await shop.fields(shop.miss(body(), query="?a=2")) == {
        "query": ('"a=2"', '"a=1"'),
        "headers.openai-beta": (None, '"assistants=v2, more"'),
        "identity": ("unknown", '"server-a"'),  # the key of the log is of no query: nothing proves who answered
    }


async def test_what_crossed_a_bridge_is_compared_by_the_route_that_was_asked(shop) -> None:
    shop.keep(body(seed=1))
    entries = [
        {"on": "request", "field": "seed", "to": 2},
        {"on": "request", "field": "path", "to": CHAT.decode()},
        {"on": "answer", "field": "(body)", "to": "x"},
    ]
    crossed = {
        "path": "/v1/responses",
        "route": "responses",
        "changes": orjson.dumps(entries),
        "received": b'{"input":1}',
    }
    told = await shop.why(shop.miss(body(seed=2), **crossed))
    assert [item["field"] for item in told["nearest"]["fields"]] == ["seed"]


async def test_samples_of_another_run_or_used_up(shop) -> None:
    raw = body(temperature=1)
    received = hashlib.sha256(raw).hexdigest()[:32]
    shop.keep(raw, pool=sample_pool("other", received), run="other")
    assert await shop.fields(shop.miss(raw, run="mine")) == {"run": ('"mine"', '"other"')}
    assert await shop.fields(shop.miss(raw, run="other", sample=1)) == {"sample": ("1", "0")}
    elsewhere = shop.miss(raw, run="other", sample=0, received=body(temperature=1, user="u"))
    assert list(await shop.fields(elsewhere)) == ["received body"]


async def test_another_shape(shop) -> None:
    shop.keep(body())
    asked = shop.miss(body(stream=True))
    assert await shop.fields(asked) == {"shape": ('"sse"', '"plain"')}


async def test_what_was_stored_with_the_answer_stands_in_for_what_the_log_leaves_out(shop) -> None:
    shop.keep(body(seed=1))
    raw = body(seed=2)
    for logged in (None, body(seed=0)):  # no body, or one in which a secret was replaced
        asked = shop.miss(logged, cache_key=place(raw).key("server-a").hex())
        shop.keep(raw, at=time.time())
        assert await shop.fields(asked) == {"seed": ("2", "1")}


async def test_without_a_body_it_says_so(shop) -> None:
    shop.keep(body())
    told = await shop.why(shop.miss(None, reason="mode write"))
    assert told["nearest"] is None
    assert told["text"].startswith("The cache says: mode write. The log holds no body of this request")


async def test_a_body_that_is_never_cached(shop) -> None:
    told = await shop.why(shop.miss(b'{"a": NaN}', None))
    assert told["text"] == "The request cannot be cached: the body is not strict JSON."


async def test_an_entry_of_an_early_version_has_no_identity_on_record(shop) -> None:
    shop.store.saw("r", "server-b", "vllm", {})
    shop.keep(body(seed=1))
    await shop.store.flush()
    await shop.store.change(lambda db: db.execute("UPDATE responses SET asked = '', identity = ''"))
    asked = shop.miss(body(seed=2), "server-b")
    assert await shop.fields(asked) == {"identity": ('"server-b"', None), "seed": ("2", "1")}


async def test_a_damaged_neighbor_is_left_out(shop) -> None:
    shop.keep(body(seed=1))
    shop.keep(body(seed=2, n=2))
    await shop.store.flush()
    await shop.store.change(
        lambda db: db.execute("UPDATE responses SET request = x'ff' WHERE id = (SELECT min(id) FROM responses)")
    )
    told = await shop.why(shop.miss(body(seed=3)))
    assert [field["field"] for field in told["nearest"]["fields"]] == ["seed", "n"]


async def test_no_more_is_read_than_a_bounded_part(shop) -> None:
    long = "x" * 1_000_000
    for seed in range(30):
        shop.keep(body(seed=seed, tools=[long]))
    told = await shop.why(shop.miss(body(seed=99, tools=[long])))
    assert told["compared"] == 17


class TestOfABody:
    async def explain(self, shop, raw: bytes, **options: Any) -> dict[str, Any]:
        await shop.store.flush()
        with reading.reading(shop.store.path) as db:
            return why.explain(why.asked_of_body(raw, path="/chat/completions", **options), [db])

    async def test_it_is_compared_without_the_model_server(self, shop) -> None:
        shop.keep(body())
        told = await self.explain(shop, body())
        assert told["nearest"]["fields"] == []
        assert "unless it is the model server: it is an answer of server-a" in told["text"]

    async def test_or_with_the_one_that_is_named(self, shop) -> None:
        shop.keep(body())
        told = await self.explain(shop, body(), identity="my-namespace")
        assert [field["field"] for field in told["nearest"]["fields"]] == ["identity"]

    async def test_its_run_is_not_known(self, shop) -> None:
        shop.keep(body(temperature=1), pool="other/00", run="other")
        assert (await self.explain(shop, body(temperature=1)))["nearest"]["fields"] == []

    @pytest.mark.parametrize("path", ["/v1/models", "/é"])
    def test_another_path_is_refused(self, path) -> None:
        with pytest.raises(why.NotExplained, match=f"'{path}' is not a pipeline route"):
            why.asked_of_body(body(), path=path)

    @pytest.mark.parametrize(("raw", "said"), [(b"[]", "JSON object"), (b"{", "not JSON"), (b"", "not JSON")])
    def test_what_is_no_request_is_refused(self, raw, said) -> None:
        with pytest.raises(why.NotExplained, match=said):
            why.asked_of_body(raw, path="/v1/chat/completions")


async def test_the_nearest_of_several_stores(shop, tmp_path) -> None:
    shop.keep(body(seed=1, n=2))
    near = Shop(tmp_path / "cache.db")
    near.keep(body(seed=1))
    asked = shop.miss(body(seed=2))
    await shop.store.flush()
    await near.store.flush()
    with reading.reading(shop.store.path) as log, reading.reading(near.store.path) as cache:
        row = reading.exchange_row(log, asked)
        assert row is not None
        told = why.of_exchange(row, [log, cache], [])
    near.store.close()
    assert ([field["field"] for field in told["nearest"]["fields"]], told["compared"]) == (["seed"], 2)


async def test_neighbors_are_found_through_an_index(shop) -> None:
    with reading.reading(shop.store.path) as db:
        plans = [
            " ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", ["x"]).fetchall())
            for sql in (why._BY_KEY, why._BY_PROMPT)
        ]
    assert ["USING INDEX" in plan and "SCAN" not in plan for plan in plans] == [True, True]


async def test_an_answer_that_is_no_entry_yet_is_named(shop) -> None:
    at = place(body())
    response = StoredResponse(
        200, [], b"{}", "chat", at.request, 1.0, time.time(), source=at.source("a"), prompt=at.prompt()
    )
    for request in (at.request, b"{}"):
        kept = dataclasses.replace(response, request=request)
        shop.store.hold(Candidate(EntryKey(at.key("a"), POOLED, 0, "plain"), kept))
    await shop.store.flush()
    with reading.reading(shop.store.path) as db:
        told = why.explain(why.asked_of_body(body(), path=CHAT.decode()), [db])
        assert (told["unconfirmed"], told["nearest"]) == (1, None)
        assert "wait until it is confirmed which model server gave them: 1." in told["text"]
        assert why.explain(why.asked_of_body(body("other"), path=CHAT.decode()), [db])["unconfirmed"] == 0
