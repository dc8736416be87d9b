import re

import pytest

from proxy.testing import ModelServer
from proxy.wire.routes import PIPELINE
from tests.contract.sidecar import chat, sidecar


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


@pytest.fixture
async def proxy(tmp_path, server):
    async with sidecar(tmp_path, server) as running:
        yield running


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
    assert [stage["name"] for stage in answered.json["pipeline"]] == ["payload_modifier", "endpoint", "caching"]
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
    await proxy.ask()
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


async def test_docs_need_nobody_else(proxy) -> None:
    page = (await proxy.get("/-/docs")).body.decode()
    assert re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page) == []
    for asset in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        assert (await proxy.get(asset)).status == 200


async def test_the_schema_lists_the_model_servers_routes(proxy) -> None:
    paths = (await proxy.get("/-/openapi.json")).json["paths"]
    assert {path.decode() for path in PIPELINE} <= set(paths)
    assert {"/v1/models", "/-/runs", "/-/exchanges/{exchange_id}"} <= set(paths)


async def test_unknown_routes_of_ours_are_404_and_never_forwarded(proxy) -> None:
    assert (await proxy.get("/-/nothing")).status == 404
    assert proxy.server.requests == []


async def test_bad_parameters_and_methods_have_the_openai_shape(proxy) -> None:
    bad = await proxy.get("/-/exchanges?limit=0")
    assert (bad.status, bad.json["error"]["code"]) == (400, "invalid_request")
    assert "'limit' is '0'" in bad.json["error"]["message"]
    wrong = await proxy.ask({}, "/-/config")
    assert (wrong.status, wrong.json["error"]["code"]) == (405, "method_not_allowed")
