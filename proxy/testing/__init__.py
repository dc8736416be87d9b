r"""A test kit for whatever talks to model servers: a scriptable model server and an unbuffered ASGI driver.

A model server on a real socket, for synchronous and asynchronous tests and for subprocesses:

    from proxy.testing import Fault, ModelServer, Reply

    with ModelServer(answer="Paris.") as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused")
        ...                                                     # answers like vLLM
        server.enqueue(Reply(status=429, json={"error": {"message": "slow down"}}))     # the next request fails
        server.enqueue(Reply(chunks=[b"data: 1\n\n", b"data: 2\n\n"], fault=Fault.CLOSE_IN_BODY))
        server.on("/v1/models", Reply(json={"object": "list", "data": []}))             # a standing rule
        [request] = server.generation_requests                  # headers, body and target as they were on the wire
        assert request.json["temperature"] == 0

An ASGI application, message by message; `httpx.ASGITransport` would wait for the whole answer:

    async with lifespan(app) as state:
        async with ASGIExchange(app, "POST", "/v1/models", headers, [body], scope={"state": state}) as exchange:
            start = await exchange.start()                      # as soon as the headers are sent
            async for chunk in exchange.chunks():               # each part as it is sent
                exchange.disconnect()                           # the client leaves
"""

from proxy.testing.asgi import ASGIExchange, LifespanFailed, ResponseStart, lifespan
from proxy.testing.model import ModelOptions
from proxy.testing.model_server import ModelServer
from proxy.testing.recording import RecordedRequest
from proxy.testing.replies import Fault, Reply

__all__ = [
    "ASGIExchange",
    "Fault",
    "LifespanFailed",
    "ModelOptions",
    "ModelServer",
    "RecordedRequest",
    "Reply",
    "ResponseStart",
    "lifespan",
]
