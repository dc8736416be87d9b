import socket

import httpx
import pytest

from proxy.probing.answers import Ask
from proxy.probing.asker import LARGEST, Asker, Endpoint
from proxy.testing import Fault, Reply
from proxy.upstream.address import parse_address
from proxy.upstream.transport import AiohttpTransport

KEY = "sk-a-key-of-some-length"
HEALTH = Ask(b"/health")


@pytest.fixture
async def asker():
    async with AiohttpTransport() as transport:

        def make(url, **options):
            return Asker(transport, Endpoint(parse_address(url), **options))

        yield make


async def test_requests_are_as_clients_write_them(asker, model_server):
    server = model_server()
    answer = await asker(server.url, api_key=KEY)(Ask(b"/v1/completions", b'{"prompt":"x"}'))
    assert (answer.status, len(answer.choices)) == (200, 1)
    [request] = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/v1/completions", b'{"prompt":"x"}')
    assert request.header("authorization") == f"Bearer {KEY}"
    assert request.header("content-type") == "application/json"


async def test_the_key_can_be_left_out(asker, model_server):
    server = model_server()
    await asker(server.url, api_key=KEY)(Ask(b"/health", authorized=False))
    assert server.requests[0].header("authorization") is None


async def test_equal_requests_are_sent_once_and_takes_are_not(asker, model_server):
    server = model_server()
    ask = asker(server.url)
    assert await ask(HEALTH) is await ask(HEALTH)
    await ask(Ask(b"/health", take=1))
    assert server.requests_total == 2
    assert list(ask.answers) == [HEALTH, Ask(b"/health", take=1)]


async def test_a_key_that_the_server_repeats_is_not_kept(asker, model_server):
    server = model_server()
    server.on("/health", Reply(401, json={"error": {"message": f"bad key {KEY}"}}))
    answer = await asker(server.url, api_key=KEY)(HEALTH)
    assert answer.fields["error"]["message"] == "bad key [redacted]"


async def test_compressed_answers_are_read_and_long_ones_cut(asker, model_server):
    server = model_server()
    server.on("/health", Reply(json={"a": 1}, gzip=True))
    server.on("/version", Reply(body=b"x" * (LARGEST + 1)))
    server.on("/info", Reply(body=b"broken", headers={"content-encoding": "br"}))
    ask = asker(server.url)
    assert (await ask(HEALTH)).fields == {"a": 1}
    assert len((await ask(Ask(b"/version"))).body) == LARGEST
    assert (await ask(Ask(b"/info"))).body == b"broken"


async def test_a_stream_can_be_left_at_its_first_chunk(asker, model_server):
    server = model_server()
    server.on("/health", Reply(chunks=[b"data: 1\n\n", b"data: 2\n\n"], fault=Fault.STALL_IN_BODY))
    answer = await asker(server.url)(Ask(b"/health", first_chunk=True))
    assert answer.body == b"data: 1\n\n"
    assert await server.requests[0].wait_aborted()


async def test_an_error_is_read_to_its_end_all_the_same(asker, model_server):
    server = model_server()
    server.on("/health", Reply(400, chunks=[b'{"detail":', b'"no"}']))
    assert (await asker(server.url)(Ask(b"/health", first_chunk=True))).fields == {"detail": "no"}


async def test_nobody_there_is_told(asker):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    failure = (await asker(f"http://127.0.0.1:{port}")(HEALTH)).failure
    assert failure.startswith(f"no connection to http://127.0.0.1:{port}/v1: ")
    assert failure.endswith("; is the model server running there?")


async def test_a_host_that_accepts_no_connection_is_told():
    class Filtered(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectTimeout("", request=request)

    ask = Asker(Filtered(), Endpoint(parse_address("http://h:1")))
    assert (await ask(HEALTH)).failure == (
        "http://h:1/v1 accepts no connection within 5 s; check host, port and firewall"
    )


async def test_an_answer_that_takes_too_long_is_told(asker, model_server):
    server = model_server()
    server.on("/health", Reply(fault=Fault.STALL_BEFORE_HEADERS))
    answer = await asker(server.url, timeout=0.1)(HEALTH)
    assert answer.failure == "/health was not answered within 0.1 s; --timeout waits longer"


async def test_what_speaks_no_http_is_told(asker, model_server):
    server = model_server()
    server.on("/health", Reply(fault=Fault.GARBAGE))
    assert "broke the connection" in (await asker(server.url)(HEALTH)).failure
    assert "does it speak http?" in (await asker(server.url)(HEALTH)).failure


async def test_after_three_requests_in_vain_no_more_are_sent(asker, model_server):
    server = model_server()
    lost = Reply(fault=Fault.CLOSE_BEFORE_ANSWER)
    server.on("/v1/completions", lost)
    ask = asker(server.url)
    for take in range(2):
        await ask(Ask(b"/v1/completions", b"{}", take))
    assert (await ask(HEALTH)).status == 200
    for take in range(2, 5):
        await ask(Ask(b"/v1/completions", b"{}", take))
    assert (await ask(Ask(b"/health", take=1))).failure == "not asked: 3 requests in a row had no answer"
    assert (await ask(HEALTH)).status == 200, "what was answered is known"
