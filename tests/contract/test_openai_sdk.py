"""The official OpenAI SDK against every route of the model server, through the sidecar."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from proxy.testing import Reply

MESSAGES: Any = [{"role": "user", "content": "hello"}]
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


TOKENS: dict[str, Any] = {"missing": None, "empty": "Bearer", "real": "Bearer sk-a-real-key-of-some-length"}


@pytest.fixture(params=TOKENS)
def client(request, model_server, sidecar):
    """The SDK insists on a key; what goes over the wire is decided behind its back."""
    server = model_server()

    def replace_token(outgoing: Any) -> None:
        del outgoing.headers["authorization"]
        if TOKENS[request.param] is not None:
            outgoing.headers["authorization"] = TOKENS[request.param]

    transport = openai.DefaultHttpxClient(event_hooks={"request": [replace_token]})
    with openai.OpenAI(
        base_url=f"{sidecar(server).url}/v1", api_key="unused", http_client=transport, max_retries=0
    ) as made:
        yield made
    arrived = {item.header("authorization") for item in server.requests}
    assert arrived == {TOKENS[request.param]}


def twice(create, **arguments):
    """The answer, asked for twice: the second comes from the cache and parses to the same."""
    first, second = (create.with_raw_response.create(**arguments) for _ in range(2))
    assert [answer.headers["x-evalside-cache"] for answer in (first, second)] == ["miss", "hit"]
    assert first.parse() == second.parse()
    return second.parse()


@pytest.mark.parametrize("extra", [{}, {"n": 3}, {"logprobs": True, "top_logprobs": 2}, {"stop": ["zzz"]}])
def test_chat(client, extra):
    answer = twice(client.chat.completions, model="m", messages=MESSAGES, temperature=0, **extra)
    assert len(answer.choices) == extra.get("n", 1)
    assert answer.usage.completion_tokens > 0


def test_chat_streams_with_usage(client):
    def stream():
        return list(client.chat.completions.create(
            model="m", messages=MESSAGES, temperature=0, stream=True, stream_options={"include_usage": True}
        ))  # fmt: skip

    first, second = stream(), stream()
    assert first == second
    assert first[-1].usage.completion_tokens > 0
    assert "".join(chunk.choices[0].delta.content or "" for chunk in first if chunk.choices)


def test_tools(client):
    answer = twice(
        client.chat.completions, model="m", messages=MESSAGES, tools=[TOOL], tool_choice="required", temperature=0
    )
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"


def test_structured_output(client):
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
    answer = twice(client.chat.completions, model="m", messages=MESSAGES, response_format=wanted, temperature=0)
    assert '"a"' in answer.choices[0].message.content


@pytest.mark.parametrize("prompt", ["one", ["one", "two"], [104, 105], [[104, 105], [106]]])
def test_completions_in_all_prompt_forms(client, prompt):
    answer = twice(
        client.completions, model="m", prompt=prompt, max_tokens=2, temperature=0, echo=True, logprobs=1
    )  # fmt: skip
    assert len(answer.choices) == (2 if prompt in (["one", "two"], [[104, 105], [106]]) else 1)
    logprobs = answer.choices[0].logprobs
    assert logprobs.token_logprobs[0] is None
    assert len(logprobs.tokens) > 2


def test_completions_stream(client):
    chunks = list(client.completions.create(model="m", prompt="x", max_tokens=3, temperature=0, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)


def test_embeddings(client):
    answer = twice(client.embeddings, model="m", input=["a", "b"])
    assert [len(item.embedding) for item in answer.data] == [16, 16]
    assert isinstance(answer.data[0].embedding[0], float)
    assert client.embeddings.create(model="m", input="a", encoding_format="float").data[0].embedding


def test_models(client):
    [model] = client.models.list().data
    assert client.models.retrieve(model.id).id == model.id


def test_responses(client):
    answer = client.responses.create(model="m", input="hello", temperature=0, store=False)
    assert answer.output_text
    events = list(client.responses.create(model="m", input="hello", temperature=0, store=False, stream=True))
    assert events[-1].type == "response.completed"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_errors_of_the_server_are_the_sdks_classes(model_server, sidecar, status, kind):
    server = model_server()
    server.on("/v1/chat/completions", Reply(status, json={"error": {"message": "no", "code": "theirs"}}))
    with (
        openai.OpenAI(base_url=f"{sidecar(server).url}/v1", api_key="x", max_retries=0) as client,
        pytest.raises(kind) as caught,
    ):
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert caught.value.code == "theirs"


def test_our_error_that_no_retry_mends_is_not_retried(model_server, sidecar):
    server = model_server()
    proxy = sidecar(server, interceptors=[{"name": "payload_modifier", "config": {"params_to_add": {"a": 1}}}])
    sent: list[Any] = []
    transport = openai.DefaultHttpxClient(event_hooks={"request": [sent.append]})
    with (
        openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="x", http_client=transport, max_retries=3) as client,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        client.post("/chat/completions", content=b'{"a":NaN}', cast_to=object)
    assert (caught.value.code, len(sent)) == ("not_editable", 1)
