import asyncio

import httpx
import pytest

from proxy.upstream import health
from proxy.upstream.address import parse_address
from proxy.upstream.health import answers


class Server(httpx.AsyncBaseTransport):
    """Answers each path with a status, or raises."""

    def __init__(self, said: dict[str, int | Exception]) -> None:
        self.said = said
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.extensions["target"].decode()
        self.asked.append(path)
        said = self.said.get(path, 404)
        if isinstance(said, Exception):
            raise said
        return httpx.Response(said)


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ({"/health": 200}, ["/health"]),
        ({"/health": 404, "/v1/models": 200}, ["/health", "/v1/models"]),
        ({"/v1/models": 401}, ["/health", "/v1/models"]),
        ({"/v1/triton_health": 200}, ["/health", "/v1/models", "/v1/triton_health"]),
    ],
)
async def test_a_server_that_answers_one_of_the_paths_is_ready(said, asked):
    server = Server(said)
    assert await answers(server, parse_address("http://h:1")) == ""
    assert server.asked == asked


async def test_the_paths_are_below_the_address(monkeypatch):
    server = Server({"/base/v1/models": 200})
    assert await answers(server, parse_address("http://h:1/base/v1")) == ""
    assert server.asked == ["/base/health", "/base/v1/models"]


async def test_what_the_last_path_said_is_told():
    server = Server({"/health": 503, "/v1/models": 503, "/v1/triton_health": 500})
    assert await answers(server, parse_address("http://h:1")) == "500 on /v1/triton_health"


async def test_a_server_that_cannot_be_reached_is_asked_once():
    server = Server({"/health": httpx.ConnectError("connection refused")})
    assert await answers(server, parse_address("http://h:1")) == "connection refused"
    assert server.asked == ["/health"]


async def test_a_server_that_hangs_is_not_waited_for(monkeypatch):
    class Hanging(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(health, "_PATIENCE", 0.01)
    assert await answers(Hanging(), parse_address("http://h:1")) == "no answer within 0.01 s"
