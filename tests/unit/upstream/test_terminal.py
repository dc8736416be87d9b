import pytest

from proxy.core.errors import UpstreamUnreachable
from proxy.core.http import Exchange, Payload, Request
from proxy.testing import Reply
from proxy.upstream.address import parse_address
from proxy.upstream.terminal import Upstream
from proxy.upstream.transport import AiohttpTransport


def exchange() -> Exchange:
    return Exchange(Request("GET", b"/v1/models", b"", [], Payload(b"")), route=None)


@pytest.mark.parametrize(
    ("status", "contacts"), [(200, 1), (400, 1), (404, 1), (429, 1), (500, 1), (502, 0), (503, 0), (504, 0)]
)
async def test_an_answer_is_contact_unless_a_gateway_says_that_the_server_is_away(model_server, status, contacts):
    server, seen = model_server(), []
    server.on("/v1/models", Reply(status, json={}))
    async with AiohttpTransport() as transport:
        upstream = Upstream(transport, parse_address(server.url), on_contact=lambda: seen.append(1))
        response = await upstream(exchange())
        await response.aclose()
    assert (response.status, len(seen)) == (status, contacts)


async def test_no_answer_is_no_contact(model_server):
    server, seen = model_server(), []
    server.stop()
    async with AiohttpTransport() as transport:
        upstream = Upstream(transport, parse_address(server.url), on_contact=lambda: seen.append(1))
        with pytest.raises(UpstreamUnreachable):
            await upstream(exchange())
    assert seen == []
