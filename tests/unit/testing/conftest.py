import socket
from collections.abc import Callable, Iterator

import httpx
import openai
import pytest

from proxy.testing import ModelServer

BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}],"temperature":0}'
CHAT = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
) + BODY
GET = b"GET /anything HTTP/1.1\r\nHost: test\r\n\r\n"


class RawClient:
    """A client that shows the bytes as they arrive."""

    def __init__(self, server: ModelServer) -> None:
        self.socket = socket.create_connection((server.host, server.port), timeout=5)

    def send(self, data: bytes) -> "RawClient":
        self.socket.sendall(data)
        return self

    def read_until(self, end: bytes) -> bytes:
        """Up to and with `end`; what came until the server closed if it never comes."""
        data = b""
        while end not in data and (more := self.socket.recv(1)):
            data += more
        return data

    def read_exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count and (more := self.socket.recv(count - len(data))):
            data += more
        return data

    def read_all(self) -> bytes:
        """Until the server closes; raises ConnectionResetError if it resets the connection."""
        data = b""
        while more := self.socket.recv(65536):
            data += more
        return data

    def read_answer(self) -> tuple[bytes, bytes]:
        """Head and body of an answer with a Content-Length."""
        head = self.read_until(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return head, self.read_exactly(int(length.partition(b":")[2]))

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def make_server() -> Iterator[Callable[..., ModelServer]]:
    servers: list[ModelServer] = []

    def make(*args, **options) -> ModelServer:
        servers.append(ModelServer(*args, **options).start())
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def server(make_server: Callable[..., ModelServer]) -> ModelServer:
    return make_server()


@pytest.fixture
def connect(server: ModelServer) -> Iterator[Callable[[], RawClient]]:
    clients: list[RawClient] = []

    def connect() -> RawClient:
        clients.append(RawClient(server))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def chat_request() -> bytes:
    return CHAT


@pytest.fixture
def get_request() -> bytes:
    return GET


@pytest.fixture
def post(server: ModelServer) -> Callable[..., httpx.Response]:
    def post(path: str, body: object = None, **options) -> httpx.Response:
        if not isinstance(body, bytes):
            options["json"] = body
        else:
            options["content"] = body
        return httpx.post(server.url + path, trust_env=False, **options)

    return post


@pytest.fixture
def sdk(server: ModelServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        yield client
