import httpx
import pytest

from proxy.testing import Reply
from proxy.upstream.asking import Origin, asker
from proxy.upstream.http1 import Http1Transport, Outgoing
from proxy.upstream.transport import AiohttpTransport

HEADERS = [(b"Host", b"model"), (b"X-Twice", b"1"), (b"X-Twice", b"2"), (b"Content-Length", b"2")]


@pytest.mark.parametrize("make", [Http1Transport, AiohttpTransport])
async def test_a_request_is_the_same_whichever_way_it_goes(model_server, make):
    server = model_server()
    server.on("/v1/echo", Reply(201, json={"said": True}, headers={"x-answer": "yes"}))
    async with make() as transport:
        ask = asker(transport, Origin(httpx.URL(server.url), 5.0))
        answer = await ask(Outgoing("POST", b"/v1/echo?a=%20b", HEADERS, b"{}"))
        body = b"".join([chunk async for chunk in answer.stream])
        await answer.stream.aclose()
    assert (answer.status, dict(answer.headers)[b"x-answer"]) == (201, b"yes")
    assert b'"said"' in body
    [asked] = server.requests
    assert (asked.method, asked.body) == ("POST", b"{}")
    assert [value for name, value in asked.headers if name.lower() == b"x-twice"] == [b"1", b"2"]


@pytest.mark.parametrize("make", [Http1Transport, AiohttpTransport])
async def test_errors_are_those_of_the_transport(model_server, make):
    server = model_server()
    server.stop()
    async with make() as transport:
        with pytest.raises(httpx.ConnectError):
            await asker(transport, Origin(httpx.URL(server.url), 5.0))(Outgoing("GET", b"/", [], b""))
