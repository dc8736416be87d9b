"""A whole probe against a model server that behaves, and against one that lies in each way there is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from proxy.probing.asker import Endpoint
from proxy.probing.probe import Probed, Wanted, probe, usable
from proxy.probing.reach import Unreachable
from proxy.probing.table import CHECKS, ROUTES
from proxy.testing import ModelServer, Reply
from proxy.testing.generation import default_answer
from proxy.testing.routes.table import answer as honestly
from proxy.upstream.address import parse_address
from proxy.upstream.transport import AiohttpTransport
from proxy.wire.profile import read_profile, write_profile

CHAT, COMPLETIONS, TOKENIZE = "/v1/chat/completions", "/v1/completions", "/tokenize"
KEY = "sk-a-key-of-some-length"

HONEST = {
    "chat.auth": "unknown",
    "chat.max_tokens_beyond_context": "rejected",
    "chat.reasoning": "unknown",
    "chat.unknown_model": "rejected",
    "chat.unknown_parameter": "ignored",
    "completions.auth": "unknown",
    "completions.max_tokens_beyond_context": "rejected",
    "completions.unknown_model": "rejected",
    "completions.unknown_parameter": "ignored",
    "tokenize.content": "rejected",
}
"""What the server that behaves has, where it is not `supported`."""


def drawn(body: dict[str, Any], choice: int, call: int) -> str:
    """A model that knows top_p and top_k, which the shipped one does not."""
    if "response_format" in body:
        return '{"color": "red"}'
    greedy = body.get("temperature") == 0 or body.get("top_p", 1) < 0.1 or body.get("top_k") == 1
    seed = body.get("seed")
    nonce = "greedy" if greedy else f"call {call} choice {choice}" if seed is None else f"seed {seed} choice {choice}"
    return default_answer("prompt", nonce) + " And so on and on, again and again, for ever and ever and a day."


@pytest.fixture
def server(model_server) -> ModelServer:
    made: ModelServer = model_server(answer=drawn, max_model_len=2000, strict_model=True)
    made.on("/tokenizer_info", Reply(json={"tokenizer_class": "T", "bos_token": "<s>"}))
    return made


async def probed(server: ModelServer, *, api_key: str | None = None, **wanted: Any) -> Probed:
    async with AiohttpTransport() as transport:
        endpoint = Endpoint(parse_address(server.url), api_key)
        return await probe(transport, Wanted(endpoint, **wanted), lambda done, total, name: None)


def verdicts(found: Probed) -> dict[str, str]:
    return {name: item.verdict.value for name, item in found.profile.capabilities.items()}


async def test_a_server_that_behaves(server):
    found = await probed(server)
    assert verdicts(found) == {name: HONEST.get(name, "supported") for name in CHECKS}
    profile = found.profile
    assert (profile.server, profile.model, profile.context_length) == ("vllm", "mock-model", 2000)
    assert profile.reasoning_field is None
    assert profile.identity is not None
    assert profile.identity.startswith(f"{server.url}/v1 vllm ")
    assert usable(profile) == ""
    assert read_profile(write_profile(profile)) == profile


async def test_requests_are_few_and_small(server):
    await probed(server)
    assert server.requests_total < 130
    generations = [request.json for request in server.generation_requests]
    limits = [max(body.get("max_tokens", 0), body.get("max_completion_tokens", 0)) for body in generations]
    assert sorted(limits)[-3] <= 64, "all but the two that ask for more than fits, which are left at once"


def lie(server: ModelServer, path: str, *forgets: str, change: Callable[[Any, Any], Any] | None = None) -> None:
    """Have the server forget fields of a request, or change its plain answers: `change(asked, answer)`."""

    def rule(request: Any) -> Reply:
        try:
            asked = request.json
        except ValueError:
            asked = {}
        told = {name: value for name, value in asked.items() if name not in forgets}
        reply = honestly(server.model, replace(request, body=json.dumps(told).encode()), lambda: 0)
        if change is None or reply.chunks is not None:
            return reply
        return replace(reply, json=change(asked, reply.json))

    server.on(path, rule)


def usage_of_one(asked, answer):
    answer["usage"]["completion_tokens"] //= max(len(answer.get("choices", [])), 1)
    answer["usage"]["prompt_tokens"] //= max(len(answer["choices"]) if isinstance(asked.get("prompt"), list) else 1, 1)
    return answer


def keeping_stop(asked, answer):
    for choice in answer.get("choices", []) if asked.get("stop") else []:
        choice["message"]["content"] += asked["stop"][0]
    return answer


def in_the_shape_of_chat(asked, answer):
    for choice in answer.get("choices", []):
        found = choice.get("logprobs")
        if found:
            choice["logprobs"] = {"content": [{"token": token, "logprob": -1.0} for token in found["tokens"]]}
    return answer


def cut_to_fit(asked, answer):
    if "usage" in answer:
        answer["usage"]["prompt_tokens"] = min(answer["usage"]["prompt_tokens"], 1000)
    return answer


def under_another_name(asked, answer):
    return answer | {"model": "m@main"} if "model" in answer else answer


LIES: dict[str, tuple[str, list[str], Callable[[Any, Any], Any] | None, dict[str, str]]] = {
    "temperature": (CHAT, ["temperature"], None, {"chat.temperature": "ignored", "chat.stop": "unknown"}),
    "seed": (CHAT, ["seed"], None, {"chat.seed": "ignored"}),
    "top_p": (COMPLETIONS, ["top_p"], None, {"completions.top_p": "ignored"}),
    "top_k": (COMPLETIONS, ["top_k"], None, {"completions.top_k": "ignored"}),
    "limit": (CHAT, ["max_tokens"], None, {"chat.max_tokens": "ignored", "chat.max_tokens_zero": "wrong"}),
    "newer name": (CHAT, ["max_completion_tokens"], None, {"chat.max_completion_tokens": "ignored"}),
    "stop": (CHAT, ["stop"], None, {"chat.stop": "ignored"}),
    "stop is kept": (CHAT, [], keeping_stop, {"chat.stop": "wrong"}),
    "n": (CHAT, ["n"], None, {"chat.n": "ignored", "chat.n_usage": "unknown", "chat.stream_n_usage": "unknown"}),
    "usage": (
        COMPLETIONS, [], usage_of_one, {"completions.n_usage": "wrong", "completions.batch_usage": "wrong"},
    ),
    "logprobs": (
        CHAT, ["logprobs", "top_logprobs"], None, {"chat.logprobs": "ignored", "chat.top_logprobs": "ignored"},
    ),
    "shape": (
        COMPLETIONS, [], in_the_shape_of_chat,
        {"completions.logprobs": "wrong", "completions.echo_logprobs": "wrong"},
    ),
    "echo": (COMPLETIONS, ["echo"], None, {"completions.echo": "ignored", "completions.echo_logprobs": "ignored"}),
    "stream": (CHAT, ["stream"], None, {"chat.stream": "ignored", "chat.stream_done": "ignored"}),
    "usage of streams": (
        CHAT, ["stream_options"], None, {"chat.stream_usage": "ignored", "chat.stream_n_usage": "ignored"},
    ),
    "tools": (CHAT, ["tools", "tool_choice"], None, {"chat.tools": "ignored", "chat.tool_choice": "ignored"}),
    "format": (CHAT, ["response_format"], None, {"chat.json_schema": "ignored", "chat.json_object": "ignored"}),
    "name": (CHAT, [], under_another_name, {"chat.model_name": "wrong"}),
    "model": (CHAT, ["model"], None, {"chat.unknown_model": "ignored"}),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
async def test_each_lie_is_seen(server, name):
    path, forgets, change, expected = LIES[name]
    route = "chat" if path == CHAT else "completions"
    lie(server, path, *forgets, change=change)
    found = verdicts(await probed(server, routes=(route,)))
    assert {check: found[check] for check in expected} == expected


def answering(status: int, document: Any) -> Reply:
    return Reply(status, json=document)


@pytest.mark.parametrize(
    ("path", "reply", "name", "verdict"),
    [
        (TOKENIZE, answering(200, {"tokens": []}), "tokenize.prompt", "wrong"),
        (TOKENIZE, answering(200, {"tokens": []}), "tokenize.messages", "wrong"),
        (TOKENIZE, answering(200, {"tokens": [7, 7, 9]}), "chat.single_bos", "wrong"),
        (TOKENIZE, answering(200, {"tokens": [7, 7, 9]}), "completions.single_bos", "wrong"),
        ("/v1/embeddings", answering(501, {"error": {"message": "no"}}), "embeddings.works", "rejected"),
        ("/v1/responses", Reply(chunks=[b"data: {}\n\n"]), "responses.works", "wrong"),
        ("/v1/messages", answering(404, {"detail": "Not Found"}), "messages.works", "rejected"),
        ("/tokenizer_info", answering(404, {"detail": "Not Found"}), "tokenize.tokenizer_info", "rejected"),
        ("/v1/models/mock-model", answering(404, {}), "server.model_by_id", "rejected"),
        ("/health", answering(404, {}), "server.health", "rejected"),
    ],
)  # fmt: skip
async def test_each_route_that_is_not_right_is_seen(server, path, reply, name, verdict):
    server.on(path, reply)
    assert verdicts(await probed(server))[name] == verdict


async def test_a_strict_server_without_done_and_with_detail(server):
    """As `transformers serve` behaves."""

    def strict(request: Any) -> Reply | None:
        strangers = {"evalside_probe", "top_k"} & request.json.keys()
        if strangers:
            return Reply(422, json={"detail": f"Unexpected fields in the request: {strangers}"})
        return None if request.json.keys() - {"model"} else Reply(500, body=b"Internal Server Error")

    server.options.send_done, server.options.error_key = False, "detail"
    server.on(CHAT, strict)
    found = verdicts(await probed(server, routes=("chat",)))
    assert {name for name, verdict in found.items() if verdict == "rejected"} == {
        "chat.top_k", "chat.unknown_parameter", "chat.unknown_model", "chat.max_tokens_beyond_context",
    }  # fmt: skip
    assert {name for name, verdict in found.items() if verdict == "wrong"} == {
        "chat.stream_done", "chat.error_shape", "chat.invalid_request",
    }  # fmt: skip


async def test_a_prompt_that_is_cut_in_silence_is_seen(server):
    lie(server, CHAT, change=cut_to_fit)
    server.on("/v1/models", Reply(json={"data": [{"id": "mock-model", "max_model_len": 1000, "owned_by": "vllm"}]}))
    found = await probed(server, routes=("chat",))
    assert found.profile.context_length == 1000
    assert verdicts(found)["chat.too_long_prompt"] == "wrong"


async def test_images_that_nobody_sees_are_seen(server):
    def text_only(request: Any) -> Reply | None:
        asked = request.json
        for message in asked.get("messages", []):
            if isinstance(message["content"], list):
                message["content"] = [part for part in message["content"] if part["type"] == "text"]
        return honestly(server.model, replace(request, body=json.dumps(asked).encode()), lambda: 0)

    server.on(CHAT, text_only)
    found = verdicts(await probed(server, routes=("chat",)))
    seen = {name: found[f"chat.{name}"] for name in ("image", "audio", "content_parts")}
    assert seen == {"image": "ignored", "audio": "ignored", "content_parts": "supported"}


async def test_a_limit_by_its_newer_name_only(server):
    def newer(request: Any) -> Reply | None:
        message = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        return Reply(400, json={"error": {"message": message}}) if "max_tokens" in request.json else None

    server.on(CHAT, newer)
    found = await probed(server, routes=("chat",))
    assert verdicts(found)["chat.works"] == "supported"
    assert verdicts(found)["chat.max_tokens"] == "rejected"
    assert verdicts(found)["chat.n_usage"] == "supported"
    assert usable(found.profile) == "", "normalize renames it"


async def test_a_key_is_sent_and_the_lack_of_it_told(server):
    server.options.api_key = KEY
    found = verdicts(await probed(server, api_key=KEY, routes=("chat",)))
    assert (found["chat.works"], found["chat.auth"]) == ("supported", "supported")
    with pytest.raises(Unreachable, match="asks for a key"):
        await probed(server)
    with pytest.raises(Unreachable, match="the key is not accepted"):
        await probed(server, api_key="sk-another-key")


async def test_another_model_can_be_asked(server):
    found = await probed(server, model="other", routes=("chat", "tokenize"))
    assert found.others == ["mock-model"]
    assert verdicts(found)["chat.works"] == "rejected"
    assert verdicts(found)["chat.seed"] == "unknown", "nothing is asked of a route that does not work"
    assert usable(found.profile) == "chat does not work (404: The model `other` does not exist.)"


@pytest.mark.parametrize("name", ["temperature", "top_p", "max_tokens"])
async def test_a_route_without_the_essentials_is_unusable(server, name):
    def rejecting(request: Any) -> Reply | None:
        first = name == "max_tokens" and request.json[name] == 12  # the limit of the request that shows that it works
        return Reply(400, json={"error": {"message": f"no {name}"}}) if name in request.json and not first else None

    server.on(COMPLETIONS, rejecting)
    found = await probed(server, routes=("completions",))
    assert usable(found.profile) == f"completions rejects {name}"


async def test_a_model_that_reasons(server):
    server.options.reasoning = "Let me think about this. " * 7
    found = await probed(server, routes=("chat",))
    assert found.profile.reasoning_field == "reasoning_content"
    told = verdicts(found)
    for name in ("reasoning", "seed", "max_tokens", "n_usage", "stream", "tools", "json_schema"):
        assert told[f"chat.{name}"] == "supported", name


async def test_routes_that_were_not_asked_make_nothing_unusable(server):
    found = await probed(server, routes=("tokenize",))
    assert set(verdicts(found)) == {name for name in CHECKS if name.startswith("tokenize.")}
    assert usable(found.profile) == ""


async def test_a_server_that_goes_away_is_not_asked_for_ever(server):
    calls = 0

    def dying(request: Any) -> Reply | None:
        nonlocal calls
        calls += 1
        return Reply(503, json={"error": {"message": "overloaded"}}) if calls > 3 else None

    server.on(CHAT, dying)
    found = verdicts(await probed(server, routes=("chat",)))
    assert found["chat.works"] == "supported"
    assert found["chat.seed"] == "unknown"


async def test_what_is_no_model_server_is_told(server):
    for path in ("/v1/models", CHAT, COMPLETIONS):
        server.on(path, Reply(404, body=b"<html>not here</html>"))
    with pytest.raises(Unreachable, match="nothing OpenAI-compatible"):
        await probed(server)


async def test_a_server_that_is_loading_is_told(server):
    server.on("/v1/models", Reply(503, json={"error": {"message": "Loading model"}}))
    with pytest.raises(Unreachable, match="is not ready: 503: Loading model"):
        await probed(server)


async def test_a_model_may_be_unnamed_where_none_is_listed(server):
    server.on("/v1/models", Reply(500, body=b"Internal Server Error"))
    lie(server, CHAT, change=under_another_name)
    found = await probed(server, routes=("server", "chat"))
    assert (found.profile.model, found.profile.server) == (None, "transformers")
    assert verdicts(found)["server.models"] == "rejected"
    assert all("model" not in request.json for request in server.requests_to(CHAT)[:3])


async def test_progress_is_told(server):
    seen: list[tuple[int, int, str]] = []
    async with AiohttpTransport() as transport:
        wanted = Wanted(Endpoint(parse_address(server.url)), routes=("server",))
        await probe(transport, wanted, lambda *told: seen.append(told))
    assert [name.partition(":")[0] for _, _, name in seen] == [
        "server.health",
        "server.models",
        "server.model_by_id",
        "",
    ]
    assert seen[-1][:2] == (3, 3)


async def test_a_namespace_is_the_identity(server):
    assert (await probed(server, namespace="mine", routes=("server",))).profile.identity == "mine"


def test_routes_are_those_of_the_table():
    assert ROUTES[:3] == ("server", "chat", "completions")
