import dataclasses
import json

import pytest

from proxy.core.http import Exchange, Payload, Request, Response
from proxy.interceptors.base import ModelNames
from proxy.interceptors.endpoint import Endpoint, EndpointConfig
from proxy.plugins import plan
from proxy.settings import ConfigError, InterceptorSpec
from proxy.testing import ModelServer, Reply
from tests.contract.sidecar import chat, sidecar
from tests.unit.interceptors import alone


async def sent(names: ModelNames, body: bytes) -> bytes:
    """What goes on to the model server for a body."""
    exchange = Exchange(Request("POST", b"/v1/chat/completions", b"", [], Payload(body)), route="chat")
    seen = []

    async def call_next(exchange: Exchange) -> Response:
        seen.append(exchange.request.body.raw)
        return Response(200, [], Payload(b""))

    services = dataclasses.replace(alone.services(), models=names)
    assert (await Endpoint(EndpointConfig(), services)(exchange, call_next)).status == 200
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


async def test_extra_fields_and_headers_replace_those_of_the_request():
    options = {"extra_body": {"top_k": 1, "seed": 2}, "extra_headers": {"X-Team": "evals"}}
    asked = await alone.ask("endpoint", options, request={"model": "m", "seed": 1, "n": 1})
    assert asked.sent == {"model": "m", "seed": 2, "n": 1, "top_k": 1}
    assert asked.exchange.request.headers == [(b"X-Team", b"evals")]
    assert [field for _, field in asked.changes] == ["header:x-team", "seed", "top_k"]


@pytest.mark.parametrize(
    "options",
    [{"extra_body": {"a": float("nan")}}, {"extra_headers": {"host": "x"}}, {"extra_headers": {"x-a": "b\n"}}],
)
def test_what_cannot_be_sent_is_refused_at_start(options):
    with pytest.raises(ConfigError):
        plan([InterceptorSpec(name="endpoint", config=options)])


async def test_a_plain_answer_has_its_time(tmp_path):
    with ModelServer() as server:
        options = {"name": "endpoint", "config": {"request_timeout": 0.05}}
        async with sidecar(tmp_path, server, [options]) as proxy:
            assert (await proxy.ask(chat())).status == 200
            server.on("/v1/chat/completions", Reply(json={}, delay=5))
            answered = await proxy.ask(chat())
    assert (answered.status, answered.json["error"]["code"]) == (504, "upstream_timeout")


def test_its_options_imply_retry_and_limit():
    entries = plan([InterceptorSpec(name="endpoint", config={"max_retries": 2, "max_concurrent": 8})])
    found = {entry.name: entry.options for entry in entries}
    assert list(found) == ["endpoint", "damping", "retry", "limit"]
    assert found["retry"]["max_retries"] == 2
    assert found["limit"]["max_concurrent"] == 8


def test_what_is_implied_cannot_be_listed_too():
    specs = [InterceptorSpec(name="endpoint", config={"max_retries": 2}), InterceptorSpec(name="retry")]
    with pytest.raises(ConfigError, match="'retry' is listed, and 'endpoint' has options of it"):
        plan(specs)
