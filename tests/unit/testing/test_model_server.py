import threading

import httpx
import pytest

from proxy.testing import ModelServer, Reply


def ask(server: ModelServer, path: str = "/x") -> httpx.Response:
    return httpx.get(server.url + path, trust_env=False)


def test_enqueued_replies_come_first_and_once(server):
    server.on("/x", Reply(body=b"rule"))
    server.enqueue(Reply(body=b"one"), Reply(body=b"two"))
    assert server.pending_replies == 2
    assert [ask(server).content for _ in range(3)] == [b"one", b"two", b"rule"]
    assert server.pending_replies == 0


def test_a_rule_may_be_a_function_that_passes(server):
    server.on("/health", lambda request: Reply(status=503) if request.query == b"down" else None)
    assert ask(server, "/health?down").status_code == 503
    assert ask(server, "/health").status_code == 200


def test_a_rule_can_be_taken_away(server):
    server.on("/health", Reply(status=503))
    server.on("/health", None)
    assert ask(server, "/health").status_code == 200


def test_a_rule_that_raises_is_an_error_that_names_it(server):
    server.on("/health", lambda _: 1 / 0)
    answer = ask(server, "/health")
    assert answer.status_code == 500
    assert "rule for /health raised ZeroDivisionError" in answer.json()["error"]["message"]


def test_a_stopped_server_comes_back_on_its_port_as_a_new_process(server):
    url, before = server.url, ask(server, "/metrics").text
    server.stop()
    with pytest.raises(httpx.ConnectError):
        ask(server)
    server.start()
    assert server.url == url
    assert ask(server, "/metrics").text.splitlines()[2] != before.splitlines()[2]


def test_a_taken_port_is_an_error_at_start(server):
    with pytest.raises(OSError, match="in use"):
        ModelServer(port=server.port).start()


def test_starting_twice_is_an_error(server):
    with pytest.raises(RuntimeError, match="already runs"):
        server.start()


def test_waiting_for_requests_returns_them_or_says_what_came(server):
    thread = threading.Thread(target=ask, args=(server,))
    thread.start()
    assert [request.path for request in server.wait_for_requests(1)] == ["/x"]
    thread.join()
    with pytest.raises(TimeoutError, match=r"saw 1: GET /x"):
        server.wait_for_requests(2, timeout=0.01)


def test_clear_forgets_requests_and_keeps_rules(server):
    server.on("/x", Reply(body=b"rule"))
    ask(server)
    server.clear()
    assert server.requests == []
    assert server.requests_total == 0
    assert ask(server).content == b"rule"


def test_generation_requests_are_the_posts_that_generate(server):
    ask(server, "/v1/models")
    httpx.post(f"{server.url}/v1/completions", json={"prompt": "x"}, trust_env=False)
    httpx.post(f"{server.url}/tokenize", json={"prompt": "x"}, trust_env=False)
    assert [request.path for request in server.generation_requests] == ["/v1/completions"]
    assert len(server.requests_to("/tokenize")) == 1


def test_without_recording_requests_are_only_counted(make_server):
    server = make_server(record=False)
    ask(server)
    assert (server.requests_total, server.requests) == (1, [])


async def test_it_serves_clients_of_the_same_event_loop():
    async with ModelServer(answer="fine") as server, httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{server.url}/v1/completions", json={"prompt": "x"})
        assert answer.json()["choices"][0]["text"] == "fine"
        assert len(await server.requests_arrived(1)) == 1
        assert not await server.requests[0].wait_aborted(timeout=0)


async def test_a_client_that_leaves_a_stream_is_seen():
    async with ModelServer(tokens_per_second=20) as server, httpx.AsyncClient(trust_env=False) as client:
        body = {"prompt": "x", "stream": True, "ignore_eos": True, "max_tokens": 1000}
        async with client.stream("POST", f"{server.url}/v1/completions", json=body) as answer:
            await anext(answer.aiter_bytes())
        [request] = server.requests
        assert await request.wait_aborted()
        assert request.chunks_sent < 100
