import asyncio
import re
from typing import Any, get_args

import pytest

from proxy.admin import PassRequest
from proxy.edge.controls import CACHE_MODES
from proxy.testing import ASGIExchange, ModelServer
from proxy.wire.routes import PIPELINE
from tests.contract.sidecar import Answer, chat, sidecar


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


@pytest.fixture
async def proxy(tmp_path, server):
    # With a namespace there is nothing to confirm: an answer is stored when its client has it.
    async with sidecar(tmp_path, server, upstream={"namespace": "here"}) as running:
        yield running


async def send(proxy, method: str, path: str, body: Any = b"") -> Answer:
    async with proxy.exchange(path, body, {}, method) as exchange:
        start = await exchange.start()
        return Answer(start.status, start.headers, await exchange.read())


def message(answer: Answer) -> str:
    assert answer.json["error"]["type"].endswith("error")
    return answer.json["error"]["message"]


async def test_live_and_ready(proxy) -> None:
    assert ((await proxy.get("/-/live")).status, (await proxy.get("/-/ready")).status) == (200, 200)
    proxy.server.stop()
    assert (await proxy.get("/-/live")).status == 200
    ready = await proxy.get("/-/ready")
    assert (ready.status, ready.json["status"]) == (503, "upstream not ready")
    assert ready.json["said"]


async def test_config_is_redacted(tmp_path, server, monkeypatch) -> None:
    monkeypatch.setenv("KEY", "s3cret-value")
    modifier = {"name": "payload_modifier", "config": {"headers_to_add": {"Authorization": "Bearer hunter22"}}}
    async with sidecar(tmp_path, server, ["caching", modifier], upstream={"api_key_name": "KEY"}) as proxy:
        answered = await proxy.get("/-/config")
    assert [stage["name"] for stage in answered.json["pipeline"]] == [
        "payload_modifier",
        "endpoint",
        "caching",
        "damping",
    ]
    assert b"hunter22" not in answered.body
    assert b"s3cret-value" not in answered.body
    assert answered.json["settings"]["upstream"]["api_key_name"] == "KEY"


async def test_exchanges_come_in_pages_and_by_filter(proxy) -> None:
    for number in range(5):
        await proxy.ask(chat(seed=number % 2), x_evalside_run=f"run{number % 2}")
    await proxy.ask(b"broken")
    seen, target = [], "/-/exchanges?limit=2"
    while target:
        page = (await proxy.get(target)).json
        seen += [item["id"] for item in page["items"]]
        target = f"/-/exchanges?limit=2&cursor={page['next']}" if page["next"] else ""
    assert len(seen) == len(set(seen)) == 6
    counts = {
        query: len((await proxy.get(f"/-/exchanges?{query}")).json["items"])
        for query in ("status=400", "cache=hit", "cache=miss", "q=invalid_json", "q=chat", "q=100%25")
    }
    assert counts == {"status=400": 1, "cache=hit": 3, "cache=miss": 2, "q=invalid_json": 1, "q=chat": 6, "q=100%25": 0}
    assert len((await proxy.get("/-/runs/run0/exchanges")).json["items"]) == 3
    assert (await proxy.get("/-/exchanges/none")).status == 404


async def test_runs(proxy) -> None:
    await proxy.ask(x_evalside_run="r1")
    await proxy.ask(chat(seed=1))
    listed = (await proxy.get("/-/runs")).json
    assert {item["run"]: item["exchanges"] for item in listed["items"]} == {"r1": 1, "default": 1}
    assert listed["findings"] == []
    found = (await proxy.get("/-/runs/r1")).json
    assert (found["exchanges"], found["status"], found["cache"]) == (1, {"200": 1}, {"miss": 1})
    assert (await proxy.get("/-/runs/none")).status == 404


async def test_losses_are_findings(proxy) -> None:
    house = proxy.app.state.house
    house.store.losses.log_rows_lost += 3
    house.store.losses.last_error = "disk full"
    await proxy.ask()
    for _ in range(2):  # counted here, then in the database, and never twice
        [finding] = (await proxy.get("/-/runs")).json["findings"]
        assert (finding["finding"], finding["count"], finding["last_error"]) == ("log_rows_lost", 3, "disk full")
        assert finding["text"] == "3 rows of the exchange log could not be written."


async def test_docs_need_nobody_else(proxy) -> None:
    page = (await proxy.get("/-/docs")).body.decode()
    assert re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page) == []
    for asset in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        assert (await proxy.get(asset)).status == 200


async def test_the_schema_lists_the_model_servers_routes(proxy) -> None:
    paths = (await proxy.get("/-/openapi.json")).json["paths"]
    assert {path.decode() for path in PIPELINE} <= set(paths)
    assert {"/v1/models", "/-/runs", "/-/exchanges/{exchange_id}"} <= set(paths)
    assert set(paths["/-/runs/{run}"]) == {"get", "post", "delete"}
    body = paths["/-/runs/{run}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"from", "mode"}


async def test_unknown_routes_of_ours_are_404_and_never_forwarded(proxy) -> None:
    assert (await proxy.get("/-/nothing")).status == 404
    assert proxy.server.requests == []


async def test_bad_parameters_and_methods_have_the_openai_shape(proxy) -> None:
    bad = await proxy.get("/-/exchanges?limit=0")
    assert (bad.status, bad.json["error"]["code"]) == (400, "invalid_request")
    assert "'limit' is '0'" in bad.json["error"]["message"]
    wrong = await proxy.ask({}, "/-/config")
    assert (wrong.status, wrong.json["error"]["code"]) == (405, "method_not_allowed")


async def test_a_miss_says_why(proxy) -> None:
    await proxy.ask(chat(seed=1, stop=["x"]))
    await proxy.ask(chat(seed=2))
    await proxy.ask(chat(seed=2))
    first, second, third = await proxy.rows()
    assert first["why"]["nearest"]["later"] is True
    assert "after this request" in first["why"]["text"]
    assert second["why"]["nearest"]["later"] is False
    assert [field["field"] for field in second["why"]["nearest"]["fields"]] == ["seed", "stop"]
    assert second["why"]["text"].endswith(
        '2 fields differ: seed (asked 2, stored 1); stop (asked absent, stored ["x"]).'
    )
    assert (third["cache"], third["why"]) == ("hit", None)


async def test_a_request_that_could_not_be_replayed_says_why(proxy) -> None:
    await proxy.ask(chat(seed=1))
    await proxy.ask(chat(seed=2), x_evalside_cache="replay")
    [_, row] = await proxy.rows()
    assert (row["status"], row["error"]) == (504, "replay_miss")
    assert [field["field"] for field in row["why"]["nearest"]["fields"]] == ["seed"]


async def test_why_looks_into_the_caching_s_own_store_and_knows_its_key_headers(tmp_path, server) -> None:
    caching = {"name": "caching", "config": {"cache_dir": str(tmp_path / "cache"), "key_headers": ["x-team"]}}
    pipeline = ["request_logging", caching]
    async with sidecar(tmp_path, server, pipeline, upstream={"namespace": "here"}) as proxy:
        await proxy.ask(x_team="red")
        await proxy.ask(x_team="blue")
        [_, row] = await proxy.rows()
    fields = {field["field"]: (field["asked"], field["stored"]) for field in row["why"]["nearest"]["fields"]}
    assert fields == {"headers.x-team": ('"blue"', '"red"')}


class TestPasses:
    async def test_a_run_is_made_and_its_passes_are_counted(self, proxy) -> None:
        first = await send(proxy, "POST", "/-/runs/r", {"mode": "read"})
        assert first.json == {"run": "r", "pass": 0, "from": None, "mode": "read"}
        [item] = (await proxy.get("/-/runs")).json["items"]
        assert {name: item[name] for name in ("run", "exchanges", "first_at", "pass", "mode", "mixed")} == {
            "run": "r",
            "exchanges": 0,
            "first_at": None,
            "pass": 0,
            "mode": "read",
            "mixed": False,
        }
        found = (await proxy.get("/-/runs/r")).json
        assert (found["exchanges"], found["status"], found["passes"], found["identities"]) == (0, {}, 1, [])
        assert (await send(proxy, "POST", "/-/runs/r")).json["pass"] == 1
        assert (await send(proxy, "POST", "/-/runs/r", {"mode": None})).json["mode"] == "read"

    async def test_statistics_begin_anew_and_old_ones_stay(self, proxy) -> None:
        for seed in (1, 2):
            await proxy.ask(chat(seed=seed), x_evalside_run="r")
        await send(proxy, "POST", "/-/runs/r")
        assert (await proxy.get("/-/runs/r")).json["exchanges"] == 0
        await proxy.ask(chat(seed=1), x_evalside_run="r")
        now = (await proxy.get("/-/runs/r")).json
        assert (now["pass"], now["passes"], now["exchanges"], now["cache"]) == (1, 2, 1, {"hit": 1})
        before = (await proxy.get("/-/runs/r?pass=0")).json
        assert (before["pass"], before["passes"], before["exchanges"], before["cache"]) == (0, 2, 2, {"miss": 2})
        both = (await proxy.get("/-/runs/r?since=0")).json
        assert [told["statistics"]["count"] for told in (before, now, both)] == [2, 0, 2]
        assert [told["statistics"]["hits"] for told in (before, now, both)] == [0, 1, 1]
        none = await proxy.get("/-/runs/r?pass=2")
        assert (none.status, message(none)) == (404, "run 'r' has no pass 2 yet; its latest is 1")
        assert (await proxy.get("/-/runs/r?pass=-1")).status == 400

    async def test_a_log_and_a_cache_apart_count_together(self, tmp_path, server) -> None:
        caching = {"name": "caching", "config": {"cache_dir": str(tmp_path / "cache")}}
        pipeline = ["request_logging", caching]
        async with sidecar(tmp_path, server, pipeline, upstream={"namespace": "here"}) as proxy:
            await proxy.ask(chat(temperature=1), x_evalside_run="r")
            assert (await send(proxy, "POST", "/-/runs/r")).json["pass"] == 1
            again = await proxy.ask(chat(temperature=1), x_evalside_run="r")
            assert again.cache == "hit"
            assert (await proxy.get("/-/runs/r")).json["cache"] == {"hit": 1}
            [replayed] = (await proxy.get("/-/runs/r")).json["findings"]
            assert (replayed["finding"], replayed["from"]) == ("replayed", {"r": 1.0})

    async def test_a_run_from_another_replays_its_samples(self, proxy) -> None:
        await proxy.ask(chat(temperature=1), x_evalside_run="old")
        made = await send(proxy, "POST", "/-/runs/new", {"from": "old"})
        assert made.json == {"run": "new", "pass": 0, "from": "old", "mode": None}
        assert (await proxy.ask(chat(temperature=1), x_evalside_run="new")).cache == "hit"
        [finding] = (await proxy.get("/-/runs")).json["findings"]
        assert (finding["run"], finding["finding"], finding["from"]) == ("new", "replayed", {"old": 1.0})

    @pytest.mark.parametrize(
        ("run", "body", "status", "said"),
        [
            ("r", {"frmo": "x"}, 400, "unknown key 'frmo'; did you mean 'from'?"),
            ("r", {"mode": "of"}, 400, "'mode' is 'of': Input should be 'on', 'off', 'read'"),
            ("r", {"from": 7}, 400, "'from' is 7: Input should be a valid string"),
            ("r", b"{", 400, "the body is not right: Invalid JSON"),
            ("r", b"[]", 400, "the body is not right: Input should be an object"),
            ("r", {"from": "a/b"}, 400, "'a/b' is not a run name"),
            ("r", {"from": "r"}, 400, "run 'r' cannot be made from itself"),
            ("r", {"from": "default"}, 400, "run 'r' cannot be made from 'default', which keeps no samples"),
            ("r", {"from": "nobody"}, 404, "there is no run 'nobody' to make 'r' from"),
            ("used", {"from": "other"}, 409, "run 'used' is there already"),
            ("default", {}, 400, "'default' is where requests that name no run go"),
            ("-x", {}, 400, "'-x' is not a run name"),
        ],
    )
    async def test_what_cannot_be_is_refused(self, proxy, run, body, status, said) -> None:
        for name in ("used", "other"):
            await proxy.ask(x_evalside_run=name)
        before = (await proxy.get("/-/runs")).json
        refused = await send(proxy, "POST", f"/-/runs/{run}", body)
        assert (refused.status, message(refused)[: len(said)]) == (status, said)
        assert (await proxy.get("/-/runs")).json == before

    async def test_of_two_that_make_a_run_at_once_one_is_refused(self, proxy) -> None:
        await send(proxy, "POST", "/-/runs/old")
        made = await asyncio.gather(*(send(proxy, "POST", "/-/runs/new", {"from": "old"}) for _ in range(2)))
        assert sorted(answer.status for answer in made) == [200, 409]

    async def test_a_client_that_leaves_before_its_body_is_whole_begins_nothing(self, proxy) -> None:
        sent = asyncio.Event()

        async def half() -> Any:
            yield b'{"mode"'
            sent.set()
            await asyncio.Event().wait()

        fields = [(b"host", b"localhost")]
        async with ASGIExchange(proxy.app, "POST", "/-/runs/r", fields, half()) as exchange:
            await sent.wait()
            exchange.disconnect()
            await exchange.wait_finished()
        assert (await proxy.get("/-/runs/r")).status == 404

    async def test_a_body_beyond_the_limit_is_refused(self, tmp_path, server) -> None:
        async with sidecar(tmp_path, server, max_body_bytes=100) as proxy:
            assert (await send(proxy, "POST", "/-/runs/r", b" " * 101)).status == 413

    def test_the_modes_are_those_of_the_header(self) -> None:
        [modes, _] = get_args(PassRequest.model_fields["mode"].annotation)
        assert get_args(modes) == CACHE_MODES


class TestDeleting:
    async def test_a_run_is_gone_with_its_samples_and_its_log(self, proxy) -> None:
        await proxy.ask(chat(temperature=1), x_evalside_run="r")
        await proxy.ask(chat(temperature=0), x_evalside_run="r")
        deleted = await send(proxy, "DELETE", "/-/runs/r")
        assert (deleted.status, deleted.json) == (200, {"run": "r", "answers": 1})
        assert (await proxy.get("/-/runs/r")).status == 404
        assert (await proxy.get("/-/exchanges")).json["items"] == []
        assert (await proxy.ask(chat(temperature=1), x_evalside_run="r")).cache == "miss"
        assert (await proxy.ask(chat(temperature=0), x_evalside_run="r")).cache == "hit"

    async def test_one_that_another_was_made_from_stays(self, proxy) -> None:
        await send(proxy, "POST", "/-/runs/old")
        await send(proxy, "POST", "/-/runs/new", {"from": "old"})
        refused = await send(proxy, "DELETE", "/-/runs/old")
        assert (refused.status, refused.json["error"]["code"]) == (409, "conflict")
        assert message(refused).startswith("run 'old' is what 'new' was made from")
        assert (await proxy.get("/-/runs/old")).status == 200

    async def test_one_that_is_not_there(self, proxy) -> None:
        assert (await send(proxy, "DELETE", "/-/runs/none")).status == 404
        assert (await send(proxy, "DELETE", "/-/runs/-x")).status == 400
