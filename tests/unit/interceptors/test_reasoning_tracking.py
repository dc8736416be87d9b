import json

import pytest

from proxy.testing import ModelServer, Reply
from tests.contract.sidecar import CHAT, chat, sidecar
from tests.unit.interceptors.alone import events


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


def says(server, *contents, path=CHAT, **message):
    choices = [
        {"index": index, "finish_reason": "stop"}
        | ({"text": text} if path != CHAT else {"message": {"role": "assistant", "content": text, **message}})
        for index, text in enumerate(contents)
    ]
    server.on(path, Reply(json={"choices": choices}))


async def tracked(tmp_path, server, *bodies, path=CHAT, interceptors=("reasoning",), **options):
    listed = [{"name": name, "config": options if name == "reasoning" else {}} for name in interceptors]
    async with sidecar(tmp_path, server, listed) as proxy:
        for body in bodies or [chat()]:
            await proxy.ask(body, path, x_evalside_run="r")
        return (await proxy.get("/-/runs/r")).json["statistics"]["reasoning"]


async def test_words_and_ends_of_every_choice(tmp_path, server):
    says(server, "<think>one two three</think>four five", "just six", "<think>seven eight")
    found = await tracked(tmp_path, server)
    assert found == {
        "total_responses": 3,
        "responses_with_reasoning": 2,
        "reasoning_started_count": 2,
        "reasoning_finished_count": 1,
        "reasoning_unfinished_count": 1,
        "reasoning_finished_ratio": 0.5,
        "avg_reasoning_words": 2.5,
        "max_reasoning_words": 3.0,
        "total_reasoning_words": 5,
        "avg_updated_content_words": 1.333,
        "max_updated_content_words": 2.0,
        "total_updated_content_words": 4,
    }


@pytest.mark.parametrize(
    ("content", "message", "ended"),
    [
        ("42", {"reasoning_content": "hm"}, "finished"),
        ("42", {"reasoning": "hm"}, "finished"),
        ("", {"reasoning_content": "hm"}, "unfinished"),
        (None, {"reasoning_content": "hm", "tool_calls": [{"id": "1"}]}, "finished"),
        (None, {"reasoning_content": "hm"}, "unfinished"),
        ("hm</think>42", {}, "finished"),
    ],
)
async def test_what_the_server_told_apart_counts_too(tmp_path, server, content, message, ended):
    says(server, content, **message)
    found = await tracked(tmp_path, server)
    assert (found[f"reasoning_{ended}_count"], found["total_reasoning_words"]) == (1, 1)


async def test_answers_without_reasoning_have_no_ratio(tmp_path, server):
    says(server, "plain")
    found = await tracked(tmp_path, server)
    assert (found["responses_with_reasoning"], found["reasoning_finished_ratio"]) == (0, None)
    assert found["avg_reasoning_words"] is None


async def test_streams_and_completions_count_alike(tmp_path, server):
    chunks = [
        {
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": {"role": "assistant", "content": part}, "finish_reason": None}],
        }
        for part in ("<th", "ink>one two</th", "ink>", "three")
    ]
    chunks.append({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    server.on(CHAT, Reply(chunks=[events(*chunks)]))
    streamed = await tracked(tmp_path / "a", server, chat(stream=True))
    says(server, "<think>one two</think>three", path="/v1/completions")
    plain = await tracked(tmp_path / "b", server, {"prompt": "x"}, path="/v1/completions")
    assert streamed == plain
    assert (plain["total_reasoning_words"], plain["total_updated_content_words"]) == (2, 1)


async def test_hits_failures_and_broken_answers_do_not_count(tmp_path, server):
    says(server, "<think>a</think>b")
    bodies = [chat(), chat()]
    server.enqueue(Reply(json={"choices": [{"message": {"content": "b"}, "finish_reason": "stop", "index": 0}]}))
    found = await tracked(tmp_path, server, *bodies, interceptors=("reasoning", "caching"))
    assert found["total_responses"] == 1
    server.on(CHAT, Reply(body=b"no JSON"))
    server.enqueue(Reply(status=500, json={"choices": [{"message": {"content": "b"}}]}))
    assert await tracked(tmp_path / "b", server, chat(), chat()) is None


@pytest.mark.parametrize("options", [{"enable_reasoning_tracking": False}, {"add_reasoning": False}])
async def test_it_can_be_switched_off(tmp_path, server, options):
    says(server, "<think>a</think>b")
    assert await tracked(tmp_path, server, **options) is None


async def test_the_console_is_told_now_and_then(tmp_path, server, capsys):
    says(server, "<think>a</think>b")
    await tracked(tmp_path, server, *[chat(seed=n) for n in range(4)], logging_aggregated_stats_interval=2)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "Reasoning" in line]
    assert [line["responses"] for line in lines] == [2, 4]
