import json
import sqlite3
from contextlib import closing
from functools import partial

import pytest

from proxy.testing import ModelServer, Reply
from tests.contract.sidecar import CHAT, chat, sidecar
from tests.unit.interceptors.alone import events
from tests.waiting import until

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USER = {"role": "user", "content": "hello"}


def replay(**options):
    return [{"name": "reasoning_replay", "config": options}]


def answer(**message):
    said = {"role": "assistant", "content": None, **message}
    return Reply(json={"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]})


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


async def replayed(tmp_path, server, said, **options):
    """What the model server gets of its own answer, in the next turn."""
    async with sidecar(tmp_path, server, replay(**options)) as proxy:
        answered = await proxy.ask(chat(), x_evalside_run="r")
        client = {name: value for name, value in said.items() if name not in {"reasoning", "reasoning_content"}}
        await proxy.ask(chat(messages=[USER, {"role": "assistant", **client}, USER]), x_evalside_run="r")
        assert answered.status == 200
        return proxy.last["messages"][1]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_an_answer_is_known_by_its_text(tmp_path, server, field):
    said = {"content": "42", field: "hm"}
    server.enqueue(answer(**said))
    assert (await replayed(tmp_path, server, said))["content"] == "<think>hm</think>\n42"


async def test_an_answer_is_known_by_its_tool_calls(tmp_path, server):
    said = {"content": None, "tool_calls": [CALL], "reasoning_content": "hm"}
    server.enqueue(answer(**said))
    assert (await replayed(tmp_path, server, said))["content"] == "<think>hm</think>\n"


async def test_native_fields(tmp_path, server):
    said = {"content": "42", "reasoning_content": "hm"}
    server.enqueue(answer(**said))
    got = await replayed(tmp_path, server, said, mode="native")
    assert got == {"role": "assistant", "content": "42", "reasoning_content": "hm", "reasoning": "hm"}


async def test_both_ways_with_own_tags(tmp_path, server):
    said = {"content": "42", "reasoning_content": "hm"}
    server.enqueue(answer(**said))
    got = await replayed(tmp_path, server, said, mode="both", tag_open="[", tag_close="]")
    assert (got["content"], got["reasoning"]) == ("[hm]\n42", "hm")


async def test_what_the_client_sends_along_is_not_doubled(tmp_path, server):
    server.enqueue(answer(content="<think>x</think>42", reasoning_content="hm"))
    got = await replayed(tmp_path, server, {"content": "<think>x</think>42"}, mode="both")
    assert got["content"] == "<think>x</think>42"


async def test_a_streamed_answer_is_remembered_too(tmp_path, server):
    envelope = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas = [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "h"},
        {"reasoning_content": "m"},
        {"content": "42"},
    ]
    ends = [None, None, None, "stop"]
    chunks = [
        {**envelope, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
        for delta, end in zip(deltas, ends, strict=True)
    ]
    server.enqueue(Reply(chunks=[events(*chunks)]))
    assert (await replayed(tmp_path, server, {"content": "42"}))["content"] == "<think>hm</think>\n42"


async def test_it_is_remembered_across_a_restart_and_not_across_runs(tmp_path, server):
    server.enqueue(answer(content="42", reasoning_content="hm"))
    async with sidecar(tmp_path, server, replay()) as proxy:
        await proxy.ask(chat(), x_evalside_run="r")
    body = chat(messages=[USER, {"role": "assistant", "content": "42"}])
    async with sidecar(tmp_path, server, replay()) as proxy:
        await proxy.ask(body, x_evalside_run="other")
        assert proxy.last == body
        await proxy.ask(body, x_evalside_run="r")
        assert proxy.last["messages"][1]["content"] == "<think>hm</think>\n42"


async def test_it_takes_reasoning_that_another_interceptor_moved_out_of_the_text(tmp_path, server):
    server.enqueue(answer(content="<think>hm</think>42"))
    async with sidecar(tmp_path, server, [*replay(), "reasoning"]) as proxy:
        answered = await proxy.ask(chat(), x_evalside_run="r")
        await proxy.ask(chat(messages=[USER, answered.json["choices"][0]["message"], USER]), x_evalside_run="r")
        assert proxy.last["messages"][1]["content"] == "<think>hm</think>\n42"


@pytest.mark.parametrize("said", [{"content": "yes"}, {"content": None, "tool_calls": [CALL]}])
async def test_no_conversation_gets_the_reasoning_of_another(tmp_path, server, said):
    async with sidecar(tmp_path, server, replay()) as proxy:
        asked = [{"role": "user", "content": question} for question in ("is 2 even?", "is 4 even?")]
        for question in asked:
            server.enqueue(answer(**said, reasoning_content=f"they ask: {question['content']}"))
            await proxy.ask(chat(messages=[question]), x_evalside_run="r")
        for question in asked:
            messages = [{"role": "system", "content": "new"}, question, {"role": "assistant", **said}, USER]
            await proxy.ask(chat(messages=messages), x_evalside_run="r")
            assert f"they ask: {question['content']}<" in proxy.last["messages"][2]["content"]


@pytest.mark.parametrize("said", [{"content": "yes"}, {"content": None, "tool_calls": [CALL]}])
async def test_where_equal_answers_were_reasoned_differently_none_gets_any(tmp_path, server, said):
    body = chat(messages=[USER, {"role": "assistant", **said}, USER])
    async with sidecar(tmp_path, server, replay()) as proxy:
        for reasoning in ("one way", "one way", "another way", "one way"):
            server.enqueue(answer(**said, reasoning_content=reasoning))
            await proxy.ask(chat(temperature=1), x_evalside_run="r")
            if reasoning == "one way":
                await proxy.ask(body, x_evalside_run="r")
        sent = [request.json for request in server.generation_requests]
        assert [sent[turn] == body for turn in (1, 3, 6)] == [False, False, True]
        assert proxy.last == body
        findings = (await proxy.get("/-/runs/r")).json["findings"]
    [finding] = [found for found in findings if found["finding"] == "reasoning_ambiguous"]
    assert finding["count"] == 1


async def test_choices_that_read_the_same_and_were_reasoned_differently_are_ambiguous(tmp_path, server):
    choices = [
        {"index": index, "message": {"role": "assistant", "content": "4", "reasoning_content": reasoning}}
        for index, reasoning in enumerate(("one way", "another way"))
    ]
    body = chat(messages=[USER, {"role": "assistant", "content": "4"}, USER])
    async with sidecar(tmp_path, server, replay()) as proxy:
        server.enqueue(Reply(json={"choices": choices}))
        await proxy.ask(chat(n=2), x_evalside_run="r")
        await proxy.ask(body, x_evalside_run="r")
        assert proxy.last == body


@pytest.mark.parametrize("reasoned", [("one way", ""), ("", "one way")])
async def test_an_answer_without_reasoning_gets_none_of_another_that_reads_the_same(tmp_path, server, reasoned):
    body = chat(messages=[USER, {"role": "assistant", "content": "4"}, USER])
    async with sidecar(tmp_path, server, replay()) as proxy:
        for seed, reasoning in enumerate(reasoned):
            server.enqueue(answer(content="4", reasoning_content=reasoning))
            await proxy.ask(chat(seed=seed), x_evalside_run="r")
        await proxy.ask(body, x_evalside_run="r")
        assert proxy.last == body


async def test_what_others_tell_the_model_in_each_turn_does_not_count(tmp_path, server):
    server.enqueue(answer(content="42", reasoning_content="hm"))
    counter = {"name": "turn_counter", "config": {"max_turns": 1000, "trigger": "periodic", "position": "user_message"}}
    async with sidecar(tmp_path, server, [*replay(), counter]) as proxy:
        await proxy.ask(chat(), x_evalside_run="r")
        await proxy.ask(chat(messages=[USER, {"role": "assistant", "content": "42"}, USER]), x_evalside_run="r")
        assert proxy.last["messages"][1]["content"] == "<think>hm</think>\n42"


@pytest.mark.parametrize("messages", [None, "no list", ["no object", USER]])
async def test_messages_that_are_none_are_left_alone(tmp_path, server, messages):
    server.on(CHAT, answer(content="42", reasoning_content="hm"))
    async with sidecar(tmp_path, server, replay()) as proxy:
        body = {"model": "m", "messages": messages}
        assert (await proxy.ask(body)).status == 200
        assert proxy.last == body


async def test_answers_without_reasoning_and_other_routes_are_left_alone(tmp_path, server):
    async with sidecar(tmp_path, server, replay()) as proxy:
        for path, body in ((CHAT, chat()), ("/v1/completions", {"model": "m", "prompt": "x"})):
            raw = json.dumps(body, indent=1).encode()
            await proxy.ask(raw, path)
            assert server.generation_requests[-1].body == raw
        server.enqueue(Reply(status=500, json={}), Reply(chunks=[b"data: no\n\n"]), Reply(body=b"no"))
        assert [(await proxy.ask(chat())).status for _ in range(3)] == [500, 200, 200]


@pytest.mark.parametrize("log", [True, False])
async def test_what_is_not_remembered_may_be_logged(tmp_path, server, log, capsys):
    messages = [USER, {"role": "assistant", "content": "never said"}, USER]
    async with sidecar(tmp_path, server, replay(log_misses=log)) as proxy:
        await proxy.ask(chat(messages=messages))
        own = {"role": "assistant", "content": "never said", "reasoning_content": "sent along"}
        await proxy.ask(chat(messages=[USER, own, USER]))
        assert proxy.last["messages"][1] == own
    assert capsys.readouterr().out.count("Reasoning unknown") == log


@pytest.mark.parametrize("stream", [False, True])
async def test_it_is_written_before_another_worker_can_be_asked(tmp_path, server, monkeypatch, stream):
    monkeypatch.setattr("proxy.store.writer.FLUSH_INTERVAL", 3600)  # nothing else has it written

    def say(reasoning):
        said = {"role": "assistant", "content": reasoning, "reasoning_content": reasoning}
        choice = {"index": 0, "delta": said, "finish_reason": "stop"}
        stream_of = Reply(chunks=[events({"object": "chat.completion.chunk", "choices": [choice]})])
        server.on(CHAT, stream_of if stream else answer(**said))

    def written(reasoning):
        with closing(sqlite3.connect(tmp_path / "evalside.db")) as connection:
            rows = connection.execute("SELECT value FROM memory WHERE kind = 'reasoning'").fetchall()
        return (reasoning,) in rows

    async with sidecar(tmp_path, server, replay()) as proxy:
        for reasoning in ("first", "second"):
            say(reasoning)
            await proxy.ask(chat(stream=stream))
            if stream:
                await until(partial(written, reasoning))  # at once, but behind the last byte
            assert written(reasoning)
