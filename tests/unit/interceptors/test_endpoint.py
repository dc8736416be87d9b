import json

import pytest

from proxy.core.http import Exchange, Payload, Request, Response
from proxy.interceptors.base import ModelNames
from proxy.interceptors.endpoint import Endpoint


async def sent(names: ModelNames, body: bytes) -> bytes:
    """What goes on to the model server for a body."""
    exchange = Exchange(Request("POST", b"/v1/chat/completions", b"", [], Payload(body)), route="chat")
    seen = []

    async def call_next(exchange: Exchange) -> Response:
        seen.append(exchange.request.body.raw)
        return Response(200, [], Payload(b""))

    assert (await Endpoint(names)(exchange, call_next)).status == 200
    [raw] = seen
    return raw


@pytest.mark.parametrize("body", [b"{}", b'{"model": null}', b'{"model": ""}'])
async def test_a_request_without_a_model_gets_the_default(body):
    assert json.loads(await sent(ModelNames("served"), body)) == {"model": "served"}


async def test_an_alias_is_translated():
    names = ModelNames("served", {"gpt-4": "real"})
    assert json.loads(await sent(names, b'{"model": "gpt-4", "n": 1}')) == {"model": "real", "n": 1}


@pytest.mark.parametrize("body", [b'{"model" : "mine"}', b'{"model":5 }', b'{"model": ["gpt-4"]}'])
async def test_another_model_is_the_clients_choice_byte_for_byte(body):
    assert await sent(ModelNames("served", {"gpt-4": "real"}), body) == body


async def test_without_names_nothing_is_changed():
    assert await sent(ModelNames(), b'{ "messages": []}') == b'{ "messages": []}'
