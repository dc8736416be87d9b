"""Mistakes of the reference that corrupt scores without a word: nemo-evaluator's W-C1 to W-FR1."""

import itertools
import json
import subprocess
import sys
from typing import Any

import httpx
import pytest

from proxy.testing import Reply
from tests.contract.reference_mistakes.clients import CHAT, COMPLETIONS, Client, message
from tests.killable import ROOT

THOUGHT = "<think>two and two</think>4"


@pytest.fixture
def counting(model_server):
    """A server that never says the same twice."""
    server = model_server()
    numbers = itertools.count()
    server.on(CHAT, lambda request: Reply(json=message(f"answer {next(numbers)}")))
    return server


@pytest.fixture
def saying(model_server):
    """A server that always says this."""

    def start(answer: Any, path: str = CHAT):
        server = model_server()
        server.on(path, Reply(chunks=[answer]) if isinstance(answer, bytes) else Reply(json=answer))
        return server

    return start


def reasoning(**options: Any) -> list[Any]:
    return [{"name": "reasoning", "config": options}, "caching"]


def said(server, sidecar, interceptors: list[Any], **fields: Any) -> dict[str, Any]:
    answered = Client(sidecar(server, interceptors=interceptors).url).post(**fields)
    return answered.json()["choices"][0]["message"]


def test_w_c1_repeats_above_temperature_0_are_samples_of_their_own(counting, sidecar):
    running = sidecar(counting)
    for client, repeats in ((Client(running.url, "r1"), 5), (Client(running.url), 5)):
        answers = [client.content(temperature=0.7) for _ in range(repeats)]
        assert len(set(answers)) == repeats
    httpx.post(f"{running.url}/-/runs/r1")
    assert [Client(running.url, "r1").content(temperature=0.7) for _ in range(5)] == [f"answer {n}" for n in range(5)]


@pytest.mark.parametrize(("path", "field"), [(COMPLETIONS, "prompt"), ("/v1/embeddings", "input")])
def test_w_c2_prompts_and_inputs_do_not_collapse_to_one_answer(model_server, sidecar, path, field):
    server = model_server()
    server.on(path, lambda request: Reply(json={"choices": [], "data": [], "asked": request.json[field]}))
    client = Client(sidecar(server).url)
    asked: list[dict[str, Any]] = [{field: text} for text in "abc"]
    assert [client.post(path, **fields).json()["asked"] for fields in asked] == ["a", "b", "c"]
    mixed = [Client(client.url).post(other, prompt="a", input="a").json() for other in (COMPLETIONS, "/v1/embeddings")]
    assert mixed[0] != mixed[1]


@pytest.mark.parametrize(
    "field",
    [
        {"n": 2},
        {"stop": ["x"]},
        {"response_format": {"type": "json_object"}},
        {"tool_choice": "none"},
        {"logprobs": True},
        {"max_completion_tokens": 9},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"presence_penalty": 0.5},
        {"a_field_of_tomorrow": 1},
    ],
)
def test_w_c2_every_field_that_may_change_an_answer_is_in_the_key(counting, sidecar, field):
    client = Client(sidecar(counting).url)
    assert client.content() != client.content(**field)


def test_w_c3_another_server_gets_its_own_answers_from_one_cache_folder(model_server, sidecar, tmp_path):
    caching = [{"name": "caching", "config": {"cache_dir": str(tmp_path / "cache")}}]
    servers = [model_server(answer=name) for name in ("one", "other")]
    for _ in range(2):
        found = [
            Client(sidecar(server, interceptors=caching, upstream={"namespace": None}).url).content()
            for server in servers
        ]
        assert found == ["one", "other"]


def test_w_c3_path_and_pipeline_are_told_apart(counting, sidecar, tmp_path):
    cache = {"name": "caching", "config": {"cache_dir": str(tmp_path / "cache")}}
    plain = Client(sidecar(counting, interceptors=[cache]).url)
    system = {"name": "system_message", "config": {"system_message": "S"}}
    changed = Client(sidecar(counting, interceptors=[cache, system]).url)
    first = plain.content()
    assert changed.content() != first
    assert plain.content() == first
    both: dict[str, Any] = {"prompt": "a", "messages": [{"role": "user", "content": "a"}]}
    assert plain.post(COMPLETIONS, **both).json()["object"] != plain.post(CHAT, **both).json()["object"]


def test_w_c4_the_cache_keeps_what_the_server_said_whatever_the_pipeline(saying, sidecar, tmp_path):
    server = saying(message(THOUGHT))
    cache = {"name": "caching", "config": {"cache_dir": str(tmp_path / "cache")}}
    pipelines = [[cache, "reasoning"], [cache], [cache, "reasoning"]]
    found = []
    for pipeline in pipelines:
        running = sidecar(server, interceptors=pipeline)
        found.append(Client(running.url).content())
        for store in running.house.stores:
            running.on_loop(store.flush)  # the next sidecar is another process, and reads the file
    assert found == ["4", THOUGHT, "4"]
    assert len(server.generation_requests) == 1


def test_w_c5_migrated_reasoning_is_there_once_on_hits_too(saying, sidecar):
    server = saying(message("4", reasoning_content="two and two"))
    client = Client(sidecar(server, interceptors=reasoning(migrate_reasoning_content=True)).url)
    assert [client.content() for _ in range(3)] == ["<think>two and two</think>4"] * 3
    assert len(server.generation_requests) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_w_r1_an_answer_without_reasoning_is_never_blanked(model_server, sidecar, stream):
    server = model_server(answer="just an answer")
    running = sidecar(server, interceptors=reasoning(include_if_not_finished=False))
    answered = Client(running.url).post(stream=stream)
    text = "".join(_deltas(answered)) if stream else answered.json()["choices"][0]["message"]["content"]
    assert text == "just an answer"


def _deltas(answered: httpx.Response) -> list[str]:
    lines = [line.removeprefix("data: ") for line in answered.text.splitlines() if line.startswith("data: {")]
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    return [choice["delta"].get("content") or "" for choice in choices]


def test_w_r2_a_mention_of_the_end_token_deletes_nothing(saying, sidecar):
    answer = "<think>hm</think>Reasoning ends with </think>, as you know."
    found = said(saying(message(answer)), sidecar, reasoning())
    assert found["content"] == "Reasoning ends with </think>, as you know."
    assert found["reasoning_content"] == "hm"
    mention = "The token </think> ends it."
    kept = said(saying(message(mention)), sidecar, reasoning(require_start_token=True))
    assert kept == message(mention)["choices"][0]["message"]
    moved = said(saying(message(mention)), sidecar, reasoning())
    assert moved["reasoning_content"] + "</think>" + moved["content"] == mention  # what comes first may be reasoning


def test_w_r2_tags_beside_reasoning_of_the_server_are_taken_apart_too(saying, sidecar):
    found = said(saying(message(THOUGHT, reasoning_content="before")), sidecar, reasoning())
    assert found["content"] == "4"
    assert found["reasoning_content"].startswith("before")
    assert "two and two" in found["reasoning_content"]


@pytest.mark.parametrize(
    ("answer", "content", "thought"),
    [
        (message(THOUGHT, reasoning_content=None), "4", "two and two"),
        (message(THOUGHT, reasoning=None), "4", "two and two"),
        (message("two and two</think>4"), "4", "two and two"),
        (message("<think>two and two"), "<think>two and two", None),
        (message("4", reasoning="two and two"), "4", "two and two"),
        (message("4", reasoning=None), "4", None),
    ],
)
def test_w_r3_reasoning_is_found_in_every_form(saying, sidecar, answer, content, thought):
    found = said(saying(answer), sidecar, reasoning())
    assert (found["content"], found.get("reasoning_content")) == (content, thought)


def chunks(*documents: dict[str, Any]) -> bytes:
    return (
        b"".join(b"data: " + json.dumps(item, ensure_ascii=False).encode() + b"\n\n" for item in documents)
        + b"data: [DONE]\n\n"
    )


def test_w_s1_a_streamed_completion_keeps_its_text(saying, sidecar):
    head = {"id": "1", "object": "text_completion", "model": "m"}
    server = saying(
        chunks(
            {**head, "choices": [{"index": 0, "text": "The answer", "finish_reason": None}]},
            {**head, "choices": [{"index": 0, "text": " is 4", "finish_reason": "stop"}]},
        ),
        COMPLETIONS,
    )
    answered = Client(sidecar(server, interceptors=["streaming"]).url).post(COMPLETIONS, prompt="a").json()
    assert (answered["object"], answered["choices"][0]["text"]) == ("text_completion", "The answer is 4")


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_w_s2_only_cr_and_lf_end_a_line_of_a_stream(saying, sidecar, separator):
    head = {"id": "1", "object": "chat.completion.chunk", "model": "m"}
    text = f"line1{separator}line2 tail"
    delta = {"role": "assistant", "content": text}
    server = saying(chunks({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}]}))
    assert said(server, sidecar, ["streaming"])["content"] == text
    assert said(server, sidecar, ["streaming", "reasoning"])["content"] == text


def test_w_s3_nothing_of_a_stream_is_lost_when_it_is_put_together(saying, sidecar):
    head = {"id": "1", "object": "chat.completion.chunk", "model": "m", "system_fingerprint": "fp_1"}
    logprobs = {"content": [{"token": "4", "logprob": -0.5, "top_logprobs": []}], "refusal": None}
    note = {"type": "url_citation", "url_citation": {"url": "https://x.example"}}
    delta = {"role": "assistant", "content": "4", "refusal": None, "annotations": [note]}
    server = saying(
        chunks({**head, "choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": "stop"}]})
    )
    answered = Client(sidecar(server, interceptors=["streaming"]).url).post().json()
    [choice] = answered["choices"]
    assert answered["system_fingerprint"] == "fp_1"
    assert choice["logprobs"] == logprobs
    assert (choice["message"]["annotations"], choice["message"]["refusal"]) == ([note], None)


def test_w_m1_removal_and_renaming_leave_tool_schemas_and_text_alone(model_server, sidecar):
    server = model_server()
    schema = {"type": "object", "properties": {"temperature": {"type": "number"}, "content": {}}}
    tools = [{"type": "function", "function": {"name": "heat", "parameters": schema}}]
    messages = [{"role": "user", "content": '{"temperature": 1, "content": 2}'}]
    options = {"params_to_remove": ["temperature"], "params_to_rename": {"content": "text", "seed": "random_seed"}}
    running = sidecar(server, interceptors=[{"name": "payload_modifier", "config": options}])
    Client(running.url).post(tools=tools, messages=messages, seed=1)
    [request] = server.generation_requests
    assert request.json == {"model": "m", "tools": tools, "messages": messages, "random_seed": 1}


def test_w_f1_a_transform_that_fails_is_an_error_and_nothing_is_sent(model_server, sidecar):
    server = model_server()
    running = sidecar(server, interceptors=["tests.contract.reference_mistakes.breaking:PLUGIN"])
    answered = Client(running.url).post()
    assert (answered.status_code, answered.json()["error"]["code"]) == (500, "interceptor_failed")
    assert "breaking:PLUGIN' failed: KeyError('messages')" in answered.json()["error"]["message"]
    system = {"name": "system_message", "config": {"system_message": "S"}}
    refused = Client(sidecar(server, interceptors=[system]).url).post(messages="none")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "not_editable")
    assert server.generation_requests == []


def test_w_t1_an_unknown_strategy_does_not_start(tmp_path):
    config = tmp_path / "proxy.yaml"
    system = {"name": "system_message", "config": {"system_message": "S", "strategy": "bogus"}}
    config.write_text(json.dumps({"upstream": {"url": "http://127.0.0.1:9"}, "interceptors": [system]}))
    command = [sys.executable, "-m", "proxy.cli", "serve", "--config", str(config), "--port", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 2
    assert "strategy is 'bogus': Input should be 'prepend', 'append' or 'replace'" in done.stderr


@pytest.mark.parametrize("strategy", ["prepend", "append"])
def test_w_t1_system_messages_of_parts_are_joined(model_server, sidecar, strategy):
    server = model_server()
    system = {"name": "system_message", "config": {"system_message": "S", "strategy": strategy}}
    parts = [{"role": "system", "content": [{"type": "text", "text": "old"}]}, {"role": "user", "content": "a"}]
    Client(sidecar(server, interceptors=[system]).url).post(messages=parts)
    texts = [part["text"] for part in server.generation_requests[0].json["messages"][0]["content"]]
    assert texts == (["S", "old"] if strategy == "prepend" else ["old", "S"])


@pytest.mark.parametrize("name", ["endpoint", "payload_modifier"])
def test_w_fr1_the_limit_that_counts_is_the_one_that_was_sent(saying, sidecar, name):
    server = saying({**message("one two"), "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}})
    option = "extra_body" if name == "endpoint" else "params_to_add"
    capped = {"name": name, "config": {option: {"max_tokens": 2}}}
    running = sidecar(server, interceptors=["finish_reason", capped])
    [choice] = Client(running.url).post().json()["choices"]
    assert choice["finish_reason"] == "length"
