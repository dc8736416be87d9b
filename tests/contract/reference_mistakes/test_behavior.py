"""Mistakes of the reference in its proxy, its statistics and what it shows of secrets; what others test is in the table
of docs/reference/mistakes.md.
"""

import asyncio
import json
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from proxy.testing import Fault, Reply
from tests.contract.reference_mistakes.clients import CHAT, Client, message
from tests.waiting import wait_for

SECRETS = {
    "authorization": "Bearer sk-authorization",
    "x-api-key": "sk-x-api-key",
    "api-key": "sk-api-key",
    "cookie": "session=sk-cookie",
}


@pytest.mark.parametrize("names", [["caching", "reasoning_replay"], ["caching", "drop_params"]])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_cache_may_be_listed_before_or_behind_a_transform(model_server, sidecar, names, backwards):
    options = {"drop_params": {"params": ["seed"]}}
    listed = [{"name": name, "config": options.get(name, {})} for name in (names[::-1] if backwards else names)]
    server = model_server()
    client = Client(sidecar(server, interceptors=listed).url)
    assert [client.post().headers["x-evalside-cache"] for _ in range(2)] == ["miss", "hit"]


def test_null_content_beside_tool_calls_stays_null(model_server, sidecar):
    server = model_server()
    body = (
        b'{"choices" : [{"index":0,"message":{"content":null,"tool_calls":[{"id":"1"}]},"finish_reason":"tool_calls"}]}'
    )
    server.on(CHAT, Reply(body=body))
    client = Client(sidecar(server).url)
    assert [client.post().content for _ in range(2)] == [body, body]


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=utf-8", None])
def test_the_content_type_of_a_request_is_the_clients_business(model_server, sidecar, content_type):
    server = model_server()
    headers = {} if content_type is None else {"content-type": content_type}
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}]}).encode()
    answered = httpx.post(sidecar(server).url + CHAT, content=body, headers=headers)
    assert answered.status_code == 200
    assert server.generation_requests[0].header("content-type") == content_type


def test_an_sdk_does_not_ask_again_when_the_turns_are_used_up(model_server, sidecar):
    counter = {"name": "turn_counter", "config": {"max_turns": 1}}
    running = sidecar(model_server(), interceptors=[counter, "request_logging"])
    sdk = openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=2)
    turns = [{"role": role, "content": "a"} for role in ("user", "assistant", "user")]
    with pytest.raises(openai.RateLimitError) as raised:
        sdk.chat.completions.create(model="m", messages=turns)  # type: ignore[arg-type]
    assert raised.value.code == "session_budget_exhausted"
    assert len(Client(running.url).get("/-/exchanges").json()["items"]) == 1


@pytest.mark.parametrize("interceptors", [None, ["raise_client_errors", "request_logging"]])
@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_refusal_is_the_servers_own_and_in_the_log(model_server, sidecar, interceptors, status):
    server = model_server()
    refused = Reply(status, json={"error": {"message": "the cause", "type": "invalid_request_error"}})
    server.on(CHAT, refused)
    client = Client(sidecar(server, interceptors=interceptors).url)
    answered = client.post()
    assert (answered.status_code, answered.content) == (status, refused.content)
    [row] = client.get("/-/exchanges").json()["items"]
    assert (row["status"], row["error"]) == (status, None)


def test_retry_after_as_a_date_is_waited_for(model_server, sidecar):
    server = model_server()
    server.enqueue(Reply(429, json={}, headers={"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}))
    assert Client(sidecar(server, interceptors=["retry"]).url).post().status_code == 200
    assert len(server.generation_requests) == 2


def test_no_folder_is_used_but_the_stores(model_server, sidecar, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "shared"))
    interceptors = ["caching", "reasoning", "response_stats", "request_logging", "response_logging", "reasoning_replay"]
    Client(sidecar(model_server(), interceptors=interceptors).url).post()
    assert {path.name.partition(".db")[0] for path in tmp_path.iterdir()} == {"sidecar-1"}


def test_nothing_is_posted_anywhere_unasked(model_server, sidecar):
    server = model_server()
    Client(sidecar(server).url, "r").post()
    assert [request.path for request in server.requests if request.method == "POST"] == [CHAT]


def test_every_choice_counts_and_what_is_not_told_is_not_zero(model_server, sidecar):
    server = model_server()
    usage = {"prompt_tokens": 10, "completion_tokens": 30, "total_tokens": 40}
    two = [
        {**message("a")["choices"][0], "index": index, "finish_reason": why}
        for index, why in enumerate(["stop", "length"])
    ]
    server.enqueue(Reply(json={"choices": two, "usage": usage}), Reply(json=message("a")), Reply(500, json={}))
    client = Client(sidecar(server).url, "r")
    for seed in range(3):
        client.post(seed=seed)
    found = client.get("").json()["statistics"]
    assert (found["count"], found["successful_count"]) == (3, 2)
    assert (found["avg_completion_tokens"], found["avg_prompt_tokens"]) == (30, 10)
    assert found["finish_reason"] == {"stop": 2, "length": 1}


@pytest.mark.parametrize("interceptor", ["request_logging", "http_pairs_dump"])
def test_no_secret_of_a_request_is_kept_or_shown(model_server, sidecar, tmp_path, capfd, interceptor):
    dump = tmp_path / "pairs.json"
    listed = [{"name": "http_pairs_dump", "config": {"dump_path": str(dump)}}, "request_logging", "response_logging"]
    running = sidecar(model_server(), interceptors=listed if interceptor == "http_pairs_dump" else listed[1:])
    client = Client(running.url)
    answered = client.post(headers=SECRETS)
    running.on_loop(running.house.store.flush)
    row = client.get(f"/-/exchanges/{answered.headers['x-evalside-id']}").text
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    kept = row.encode() + b"".join(files.values()) + "".join(capfd.readouterr()).encode()
    assert [value for value in SECRETS.values() if value.rpartition(" ")[2].encode() in kept] == []
    assert b"x-api-key" in kept.lower()
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_secrets_in_options_are_not_shown(model_server, sidecar, capfd):
    options = {"headers_to_add": {"X-Api-Key": "sk-of-a-gateway", "x-team": "evals"}}
    server = model_server()
    running = sidecar(server, interceptors=[{"name": "payload_modifier", "config": options}, "request_logging"])
    client = Client(running.url)
    answered = client.post()
    assert server.generation_requests[0].header("x-api-key") == "sk-of-a-gateway"
    shown = client.get("/-/config").text + client.get(f"/-/exchanges/{answered.headers['x-evalside-id']}").text
    assert "sk-of-a-gateway" not in shown + "".join(capfd.readouterr())
    assert "x-team" in shown


def test_bodies_with_media_are_not_on_the_console(model_server, sidecar, capfd):
    image = "data:image/png;base64," + "iVBORw0KGgo" * 50
    content = [{"type": "image_url", "image_url": {"url": image}}]
    Client(sidecar(model_server()).url).post(messages=[{"role": "user", "content": content}])
    assert "iVBORw0KGgo" not in "".join(capfd.readouterr())


def test_connections_to_the_model_server_are_used_again(model_server, sidecar):
    server = model_server()
    client = Client(sidecar(server).url)
    for seed in range(30):
        client.post(seed=seed)
    assert server.connections_total <= 3


async def test_many_requests_at_once_need_no_thread_each(model_server, sidecar):
    server = model_server()
    running = sidecar(server)
    async with httpx.AsyncClient(base_url=running.url, limits=httpx.Limits(max_connections=200), timeout=60) as client:
        server.on(CHAT, Reply(delay=0.2, json=message("a")))
        before = threading.active_count()
        asked = [client.post(CHAT, json={"model": "m", "messages": [], "seed": n}) for n in range(100)]
        answers = asyncio.gather(*asked)
        await server.requests_arrived(100, 30)
        during = threading.active_count()
        assert {answer.status_code for answer in await answers} == {200}
    assert during - before < 10


def test_a_server_that_breaks_off_leaves_nothing_behind(model_server, sidecar, tmp_path):
    server = model_server()
    server.on(CHAT, Reply(fault=Fault.CLOSE_BEFORE_ANSWER))
    dump = tmp_path / "pairs.json"
    running = sidecar(
        server, interceptors=[{"name": "http_pairs_dump", "config": {"dump_path": str(dump), "first_n": 0}}]
    )
    client = Client(running.url)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda seed: client.post(seed=seed), range(40)))
    assert {answer.status_code for answer in answers} == {502}
    pairs = _whole(dump, 40)
    assert len({pair["request_id"] for pair in pairs}) == 40
    assert {pair["response"]["status"] for pair in pairs} == {502}


def _whole(dump: Path, count: int) -> list[dict]:
    def pairs() -> list[dict]:
        try:
            return json.loads(dump.read_text())["pairs"]
        except ValueError:  # it is being written
            return []

    wait_for(lambda: len(pairs()) == count, 20)
    return pairs()
