import json
from typing import Any

import pytest

from proxy.testing import Fault, ModelServer, Reply
from tests.contract.sidecar import CHAT, chat, sidecar

BOTH: list[Any] = ["request_logging", "response_logging"]
KEY = "sk-client-0123456789abcdef"


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


async def test_one_row_tells_the_exchange(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, BOTH) as proxy:
        raw = json.dumps(chat(), indent=1).encode()
        answered = await proxy.ask(raw, x_evalside_run="r1")
        [row] = await proxy.rows()
    assert row["id"] == answered.header("x-evalside-id")
    assert (row["run"], row["method"], row["path"], row["route"]) == ("r1", "POST", CHAT, "chat")
    assert (row["status"], row["outcome"], row["error"], row["cache"]) == (200, "complete", None, None)
    assert row["request_body"] == raw.decode()
    assert row["response_body"] == answered.body.decode()
    assert row["sent_body"] is None
    assert row["duration_ms"] >= row["upstream_ms"] > 0


async def test_what_was_sent_on_is_kept_where_it_differs(tmp_path, server) -> None:
    modifier = {"name": "payload_modifier", "config": {"params_to_add": {"seed": 7}}}
    async with sidecar(tmp_path, server, [*BOTH, modifier]) as proxy:
        await proxy.ask()
        [row] = await proxy.rows()
    assert json.loads(row["sent_body"])["seed"] == 7
    assert "seed" not in json.loads(row["request_body"])


async def test_secrets_are_nowhere(tmp_path, server, monkeypatch, capfd) -> None:
    monkeypatch.setenv("MODEL_KEY", "upstream-0123456789abcdef")
    echo = f"client {KEY}, upstream upstream-0123456789abcdef"
    server.on(CHAT, Reply(json={"error": {"message": echo}}, headers={"x-echo": echo}, status=401))
    async with sidecar(tmp_path, server, [*BOTH, "caching"], upstream={"api_key_name": "MODEL_KEY"}) as proxy:
        await proxy.ask(path=f"{CHAT}?api_key=query-secret", cookie="c00kie-value", x_api_key=KEY)
        [row] = await proxy.rows()
        shown = (await proxy.get("/-/config")).body.decode()
    assert ["x-api-key", "[redacted]"] in row["request_headers"]
    assert ["cookie", "[redacted]"] in row["request_headers"]
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file()).decode("latin-1")
    for secret in (KEY, "upstream-0123456789abcdef", "query-secret", "c00kie-value"):
        assert secret not in stored + shown + "".join(capfd.readouterr())


async def test_a_limit_caps_bodies_and_never_rows(tmp_path, server) -> None:
    limited = [
        {"name": "request_logging", "config": {"max_requests": 1}},
        {"name": "response_logging", "config": {"max_responses": 2}},
    ]
    async with sidecar(tmp_path, server, limited) as proxy:
        for _ in range(3):
            await proxy.ask()
        rows = await proxy.rows()
    assert [row["request_body"] is not None for row in rows] == [True, False, False]
    assert [row["response_body"] is not None for row in rows] == [True, True, False]


async def test_bodies_and_headers_may_be_left_out(tmp_path, server) -> None:
    without = [
        {"name": "request_logging", "config": {"log_request_body": False, "log_request_headers": False}},
        {"name": "response_logging", "config": {"log_response_body": False, "log_response_headers": False}},
    ]
    async with sidecar(tmp_path, server, without) as proxy:
        await proxy.ask()
        [row] = await proxy.rows()
    assert [name for name, value in row.items() if name.endswith(("body", "headers")) and value is not None] == []


@pytest.mark.parametrize("only", BOTH)
async def test_either_of_them_writes_the_row(tmp_path, server, only: str) -> None:
    async with sidecar(tmp_path, server, [only]) as proxy:
        await proxy.ask()
        assert len(await proxy.rows()) == 1


async def test_our_own_errors_have_rows(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, BOTH) as proxy:
        await proxy.ask(b"not json")
        server.stop()
        await proxy.ask()
        rows = await proxy.rows()
    assert [(row["status"], row["error"]) for row in rows] == [(400, "invalid_json"), (502, "upstream_unreachable")]
    assert rows[0]["request_body"] == "not json"
    assert json.loads(rows[1]["response_body"])["error"]["code"] == "upstream_unreachable"


@pytest.mark.parametrize("fault", [Fault.STALL_IN_BODY, Fault.STALL_BEFORE_HEADERS])
async def test_a_client_that_leaves_has_a_row(tmp_path, server, fault: Fault) -> None:
    modifier = {"name": "payload_modifier", "config": {"params_to_add": {"seed": 7}}}
    in_body = fault is Fault.STALL_IN_BODY
    server.enqueue(Reply(chunks=[b"data: 1\n\n", b"data: 2\n\n"], fault=fault) if in_body else Reply(fault=fault))
    async with sidecar(tmp_path, server, [*BOTH, modifier]) as proxy:
        async with proxy.exchange(CHAT, chat(stream=True), {}) as exchange:
            await server.requests_arrived(1)
            if in_body:
                await exchange.start()
                await anext(exchange.chunks())
        [row] = await proxy.rows()
    assert row["outcome"] == "client_gone"
    assert row["response_body"] == ("data: 1\n\n" if in_body else None)
    assert json.loads(row["sent_body"])["seed"] == 7


async def test_the_console_has_one_structured_line_for_each_end(tmp_path, server, capfd) -> None:
    async with sidecar(tmp_path, server, BOTH) as proxy:
        answered = await proxy.ask(path=f"{CHAT}?a=1")
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["Incoming request", "Outgoing response"]
    assert {line["exchange"] for line in lines} == {answered.header("x-evalside-id")}
    assert (lines[0]["path"], lines[1]["status"], lines[1]["outcome"]) == (f"{CHAT}?a=1", 200, "complete")
