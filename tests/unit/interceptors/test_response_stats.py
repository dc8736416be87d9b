import json

import pytest

from proxy.testing import Fault, ModelServer, Reply
from tests.contract.sidecar import chat, sidecar

STATS = {"name": "response_stats", "config": {}}


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


async def statistics(proxy, run="r", **query):
    return (await proxy.get(f"/-/runs/{run}", **query)).json["statistics"]


def answer(finish="stop", n=1, **usage):
    choices = [{"index": index, "message": {"content": "x"}, "finish_reason": finish} for index in range(n)]
    return Reply(json={"choices": choices, **({"usage": usage} if usage else {})})


async def test_live_answers_are_added_up(tmp_path, server):
    server.enqueue(
        answer(prompt_tokens=10, completion_tokens=1),
        answer("length", prompt_tokens=20, completion_tokens=5, completion_tokens_details={"reasoning_tokens": 4}),
        answer(n=2),
    )
    async with sidecar(tmp_path, server, [STATS]) as proxy:
        for _ in range(3):
            await proxy.ask(chat(), x_evalside_run="r")
        found = await statistics(proxy)
    assert (found["count"], found["successful_count"], found["hits"]) == (3, 3, 0)
    assert (found["avg_prompt_tokens"], found["max_prompt_tokens"]) == (15, 20)
    assert (found["avg_completion_tokens"], found["max_total_tokens"]) == (3, 25)
    assert (found["avg_reasoning_tokens"], found["max_reasoning_tokens"]) == (4, 4)
    assert found["finish_reason"] == {"stop": 3, "length": 1}
    assert found["status_codes"] == {"200": 3}
    assert 0 < found["avg_latency_ms"] <= found["max_latency_ms"]
    assert found["inference_time"] > 0
    assert found["first_request_time"] < found["last_request_time"]


async def test_failures_count_and_do_not_spoil_averages(tmp_path, server):
    server.enqueue(
        answer(prompt_tokens=10, completion_tokens=1),
        Reply(status=500, json={"error": "x"}),
        Reply(fault=Fault.GARBAGE),
    )
    async with sidecar(tmp_path, server, [STATS]) as proxy:
        for _ in range(3):
            await proxy.ask(chat(), x_evalside_run="r")
        found = await statistics(proxy)
    assert (found["count"], found["successful_count"], found["avg_prompt_tokens"]) == (3, 1, 10)
    assert found["status_codes"] == {"200": 1, "500": 1, "502": 1}


async def test_hits_are_counted_apart_and_leave_latencies_alone(tmp_path, server):
    async with sidecar(tmp_path, server, [STATS, "caching"]) as proxy:
        for _ in range(3):
            await proxy.ask(chat(), x_evalside_run="r")
        found = await statistics(proxy)
    assert (found["count"], found["hits"], found["status_codes"]) == (1, 2, {"200": 1})


async def test_streams_are_counted_with_the_time_of_their_first_byte(tmp_path, server):
    async with sidecar(tmp_path, server, [STATS]) as proxy:
        await proxy.ask(chat(stream=True, stream_options={"include_usage": True}), x_evalside_run="r")
        found = await statistics(proxy)
    assert found["avg_completion_tokens"] > 0
    assert 0 < found["avg_first_byte_ms"] <= found["avg_latency_ms"]


async def test_each_pass_has_its_own_and_the_older_stays(tmp_path, server):
    async with sidecar(tmp_path, server, [STATS]) as proxy:
        await proxy.ask(chat(), x_evalside_run="r")
        await proxy.ask(b"{}", "/-/runs/r")
        assert (await statistics(proxy))["count"] == 0
        assert (await proxy.get("/-/runs/r?pass=0")).json["statistics"]["count"] == 1


async def test_it_goes_on_after_a_restart(tmp_path, server):
    for _ in range(2):
        async with sidecar(tmp_path, server, [STATS]) as proxy:
            await proxy.ask(chat(), x_evalside_run="r")
            found = await statistics(proxy)
    assert found["count"] == 2


async def test_what_is_not_collected_is_not_there(tmp_path, server):
    off = dict.fromkeys(["collect_token_stats", "collect_finish_reasons", "collect_tool_calls"], False)
    async with sidecar(tmp_path, server, [{"name": "response_stats", "config": off}]) as proxy:
        await proxy.ask(chat(), x_evalside_run="r")
        found = await statistics(proxy)
    assert (found["count"], found["avg_prompt_tokens"], found["finish_reason"]) == (1, None, {})


async def test_it_tells_the_console_now_and_then(tmp_path, server, capfd):
    options = {"name": "response_stats", "config": {"logging_aggregated_stats_interval": 2}}
    async with sidecar(tmp_path, server, [options]) as proxy:
        for _ in range(3):
            await proxy.ask(chat())
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if "Statistics" in line]
    assert [line["responses"] for line in lines] == [2]


async def test_log_tokens_has_a_line_for_each_answer(tmp_path, server, capfd):
    async with sidecar(tmp_path, server, ["log_tokens", "caching"]) as proxy:
        for _ in range(2):
            await proxy.ask(chat())
        server.enqueue(Reply(status=500, json={"error": "x"}))
        await proxy.ask(chat(seed=1))
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if '"Tokens"' in line]
    assert [line["live"] for line in lines] == [True, False]
    assert lines[0]["total_tokens"] == lines[0]["prompt_tokens"] + lines[0]["completion_tokens"]
    assert lines[0]["model"]
