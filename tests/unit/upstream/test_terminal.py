import pytest

from proxy.core.errors import UpstreamUnreachable
from proxy.core.http import Exchange, Payload, Request
from proxy.testing import Reply
from proxy.upstream.address import parse_address
from proxy.upstream.terminal import Upstream
from proxy.upstream.transport import AiohttpTransport
from proxy.wire import routes

PATH = "/v1/load_lora_adapter"


def exchange(method: str, route: str | None = None) -> Exchange:
    return Exchange(Request(method, PATH.encode(), b"", [], Payload(b"")), route=route)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_relayed_request_that_may_change_the_server_is_told_before_and_after(model_server, method):
    server, told = model_server(), []
    server.on(PATH, Reply(200, json={}))
    async with AiohttpTransport() as transport:
        upstream = Upstream(transport, parse_address(server.url), on_change=lambda: told.append(server.requests_total))
        response = await upstream(exchange(method))
        await response.aclose()
    assert told == [0, 1]


@pytest.mark.parametrize(("method", "route"), [("GET", None), ("HEAD", None), ("OPTIONS", None), ("POST", routes.CHAT)])
async def test_other_requests_change_nothing(model_server, method, route):
    server, told = model_server(), []
    server.on(PATH, Reply(200, json={}))
    async with AiohttpTransport() as transport:
        upstream = Upstream(transport, parse_address(server.url), on_change=lambda: told.append(1))
        response = await upstream(exchange(method, route))
        await response.aclose()
    assert (server.requests_total, told) == (1, [])


async def test_a_request_without_an_answer_may_have_changed_the_server_too(model_server):
    server, told = model_server(), []
    server.stop()
    async with AiohttpTransport() as transport:
        upstream = Upstream(transport, parse_address(server.url), on_change=lambda: told.append(1))
        with pytest.raises(UpstreamUnreachable):
            await upstream(exchange("POST"))
    assert told == [1, 1]
