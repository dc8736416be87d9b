"""Both clients over the real sidecar."""

import pytest

from harness import ApiEndpoint, AsyncEvalsideClient, EndpointModelConfig, EvalsideClient
from harness.client import calls
from harness.errors import RequestError
from proxy.testing import Reply

MESSAGES = [{"role": "user", "content": "hi"}]
COMPLETIONS = "/v1/completions"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(calls, "wait_s", lambda _: 0.0)


@pytest.fixture
def config(server):
    def make(**values):
        return EndpointModelConfig(**{"url": f"{server.url}/v1", "model_id": "m", **values})

    return make


def test_answers_look_like_the_sdks_and_the_second_is_a_hit(server):
    with EvalsideClient(ApiEndpoint(url=f"{server.url}/v1", model_id="m")) as client:
        first = client.chat.completions.create(messages=MESSAGES, temperature=0)
        second = client.chat.completions.create(messages=MESSAGES, temperature=0)
        assert client.completions.create(prompt="a", temperature=0).choices[0].text
        assert client.embeddings.create(input="a").data[0].embedding
        assert client.models.list().data[0].id == "mock-model"
        assert client.base_url.endswith(f"/-/runs/{client.run_id}/v1")
    assert first.choices[0].message.content == second.choices[0].message.content
    assert first.usage.completion_tokens > 0
    assert (first.evalside.cache, second.evalside.cache) == ("miss", "hit")
    assert first.evalside.run == client.run_id
    assert server.generation_requests[0].json["model"] == "m"


def test_what_the_configuration_says_is_in_every_request_that_does_not_say_otherwise(server, config):
    model = config(temperature=0.5, top_p=0.9, max_new_tokens=7, extra={"seed": 3})
    with EvalsideClient(model) as client:
        client.completions.create(prompt="a", top_p=1)
    asked = server.generation_requests[0].json
    assert asked == {"model": "m", "temperature": 0.5, "top_p": 1, "max_tokens": 7, "seed": 3, "prompt": "a"}


def test_a_stream_is_an_iterator_of_parts(config):
    with EvalsideClient(config()) as client:
        parts = list(client.chat.completions.create(messages=MESSAGES, temperature=0, stream=True))
        whole = client.chat.completions.create(messages=MESSAGES, temperature=0)
    said = "".join(part.choices[0].delta.get("content") or "" for part in parts if part.choices)
    assert said == whole.choices[0].message.content


def test_a_run_that_is_gone_through_again_gets_the_samples_it_had(server, config):
    def ask(run_id):
        with EvalsideClient(config(temperature=1), run_id=run_id) as client:
            return client.run_id, [client.completions.create(prompt="a").choices[0].text for _ in range(3)]

    run_id, first = ask(None)
    assert len(set(first)) == 3
    assert ask(run_id) == (run_id, first)
    assert len(server.generation_requests) == 3


def test_a_refusal_has_status_code_and_words(server, config, refused):
    server.on(COMPLETIONS, refused(400, "too long", "context_length_exceeded"))
    with EvalsideClient(config()) as client, pytest.raises(RequestError, match=r"400 .*too long") as caught:
        client.completions.create(prompt="a")
    assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")


def test_a_busy_server_is_asked_again_as_often_as_allowed(server, config, refused):
    server.enqueue(refused(503), refused(503))
    with EvalsideClient(config(max_retries=2)) as client:
        assert client.completions.create(prompt="a").choices
        server.enqueue(refused(503), refused(503), refused(503))
        with pytest.raises(RequestError, match="503"):
            client.completions.create(prompt="b")


def test_an_answer_that_is_no_object_is_an_error(server, config):
    server.on(COMPLETIONS, Reply(json=[1]))
    with EvalsideClient(config()) as client, pytest.raises(RequestError, match="no JSON object"):
        client.completions.create(prompt="a")


async def test_the_asynchronous_client_does_the_same(server, config, refused):
    async with AsyncEvalsideClient(config(parallelism=2)) as client:
        first = await client.chat.completions.create(messages=MESSAGES, temperature=0)
        second = await client.chat.completions.create(messages=MESSAGES, temperature=0)
        stream = await client.chat.completions.create(messages=MESSAGES, temperature=0, stream=True)
        parts = [part async for part in stream]
        assert (await client.models.list()).data[0].id == "mock-model"
        assert (await client.embeddings.create(input="a")).data[0].embedding
        server.enqueue(refused(400, "no"))
        with pytest.raises(RequestError, match="400"):
            await client.responses.create(input="a")
    assert (first.evalside.cache, second.evalside.cache) == ("miss", "hit")
    said = "".join(part.choices[0].delta.get("content") or "" for part in parts if part.choices)
    assert said == first.choices[0].message.content


async def test_an_asynchronous_run_is_gone_through_again(config):
    texts = []
    for _ in range(2):
        async with AsyncEvalsideClient(config(temperature=1), run_id="again") as client:
            texts.append((await client.completions.create(prompt="a")).choices[0].text)
    assert texts[0] == texts[1]


def test_a_url_is_enough(server):
    with EvalsideClient(server.url) as client:
        assert client.completions.create(prompt="a").choices[0].text
    client.close()
