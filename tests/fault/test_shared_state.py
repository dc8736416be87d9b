"""What is remembered from one request to the next is the same in every worker, and after a kill."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from proxy.testing import ModelServer, Reply
from tests.killable import Killable
from tests.waiting import wait_for

pytestmark = [pytest.mark.fault, pytest.mark.timeout(120)]
CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "What is 2+2?"}
RUN = "r1"
NAMESPACE = {"namespace": "test"}


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


@pytest.fixture
def told():
    with ModelServer() as running:
        yield running


def ask(process: Killable, messages: list[Any], **fields: Any) -> httpx.Response:
    """One request on a connection of its own, so that any worker may take it."""
    body = {"model": "m", "messages": messages, "temperature": 0.5, **fields}
    return httpx.post(f"{process.url}/-/runs/{RUN}{CHAT}", json=body, timeout=60)


def worker(answered: httpx.Response) -> str:
    """Which process answered: a part of the exchange's id."""
    return answered.headers["x-evalside-id"][11:17]


def by_every_worker(process: Killable, messages: list[Any], **fields: Any) -> list[httpx.Response]:
    """Ask until two workers have answered."""
    answers: list[httpx.Response] = []
    with ThreadPoolExecutor(8) as pool:
        while len({worker(answered) for answered in answers}) < 2:
            answers += pool.map(lambda number: ask(process, messages, seed=number, **fields), range(16))
            assert len(answers) < 2000
    return answers


def thinking(server: ModelServer) -> None:
    said = {"role": "assistant", "content": "4", "reasoning_content": "two and two"}
    server.on(CHAT, Reply(json={"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}))


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_is_given_back_by_every_worker_and_after_a_kill(tmp_path, server, stream) -> None:
    thinking(server)
    if stream:
        head = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        said = {"role": "assistant", "content": "4", "reasoning_content": "two and two"}
        chunk = {**head, "choices": [{"index": 0, "delta": said, "finish_reason": "stop"}]}
        server.on(CHAT, Reply(chunks=[f"data: {json.dumps(chunk)}\n\n".encode(), b"data: [DONE]\n\n"]))
    turns = [USER, {"role": "assistant", "content": "4"}, USER]

    def given_back() -> set[str]:
        return {request.json["messages"][1]["content"] for request in server.generation_requests}

    replay = ["reasoning_replay"]
    with Killable(tmp_path, server.url, workers=2, upstream=NAMESPACE, interceptors=replay) as process:
        ask(process, [USER], stream=stream)
        if stream:  # written at once, but not before the last chunk is sent
            server.clear()
            wait_for(lambda: "<think>" in str(ask(process, turns) and server.generation_requests[-1].json), 20)
        server.clear()
        by_every_worker(process, turns)
        assert given_back() == {"<think>two and two</think>\n4"}
        process.kill()
        server.clear()
        process.start()
        by_every_worker(process, turns)
        assert given_back() == {"<think>two and two</think>\n4"}


def test_turns_are_counted_alike_by_every_worker_and_after_a_kill(tmp_path, server) -> None:
    counter = [{"name": "turn_counter", "config": {"max_turns": 2}}]
    two = [USER, {"role": "assistant", "content": "4"}, USER]
    three = [*two, {"role": "assistant", "content": "4"}, USER]
    with Killable(tmp_path, server.url, workers=2, upstream=NAMESPACE, interceptors=counter) as process:
        for _ in range(2):
            assert {answered.status_code for answered in by_every_worker(process, two)} == {200}
            refused = by_every_worker(process, three)
            assert {answered.json()["error"]["code"] for answered in refused} == {"session_budget_exhausted"}
            told = {request.json["messages"][0]["content"] for request in server.generation_requests}
            assert told == {"[Turn 2 of 2. Almost no turns are left: give your final answer now.]"}
            process.kill()
            process.start()


def test_a_run_that_is_aborted_is_so_in_every_worker_and_after_a_kill(tmp_path, server) -> None:
    with Killable(tmp_path, server.url, workers=2, upstream=NAMESPACE, interceptors=["raise_client_errors"]) as process:
        server.enqueue(Reply(404, json={"error": {"message": "no such model"}}))
        assert ask(process, [USER]).status_code == 404
        for _ in range(2):
            answers = by_every_worker(process, [USER])
            assert {answered.json()["error"]["code"] for answered in answers} == {"run_aborted"}
            process.kill()
            process.start()
        process.new_pass(RUN)
        assert {answered.status_code for answered in by_every_worker(process, [USER])} == {200}
    assert len([request for request in server.generation_requests if "seed" not in request.json]) == 1


def test_what_is_counted_is_of_all_workers_and_goes_on_after_a_kill(tmp_path, server, told) -> None:
    thinking(server)
    told.on("/progress", Reply(json={}))
    interceptors = [
        "request_logging",
        "response_stats",
        "reasoning",
        {"name": "payload_modifier", "config": {"params_to_add": {"top_k": 1}}},
        {"name": "progress_tracking", "config": {"progress_tracking_url": f"{told.url}/progress"}},
    ]
    with Killable(tmp_path, server.url, workers=2, upstream=NAMESPACE, interceptors=interceptors) as process:
        first = len(by_every_worker(process, [USER]))
        _all_know(process, told, first)
        process.kill()
        process.start()
        _all_know(process, told, first + len(by_every_worker(process, [USER])))


def _all_know(process: Killable, told: ModelServer, asked: int) -> None:
    wait_for(lambda: _counted(process) == asked, 20)
    run = process.ask(f"/-/runs/{RUN}")
    assert run["statistics"]["reasoning"]["total_responses"] == asked
    changes = [(change["field"], change["requests"], change["of"]) for change in run["changes"]]
    assert changes == [("top_k", asked, asked)]
    wait_for(lambda: max(request.json["samples_processed"] for request in told.requests) == asked, 20)


def _counted(process: Killable) -> int:
    run = process.ask(f"/-/runs/{RUN}")
    changes = run["changes"][0]["of"] if run["changes"] else 0
    reasoning = run["statistics"]["reasoning"] or {"total_responses": 0}
    return int(min(run["statistics"]["count"], changes, reasoning["total_responses"]))


def test_each_worker_dumps_pairs_into_a_file_of_its_own(tmp_path, server) -> None:
    dump = {"name": "http_pairs_dump", "config": {"dump_path": str(tmp_path / "pairs.json"), "first_n": 5000}}
    with Killable(tmp_path, server.url, workers=2, upstream=NAMESPACE, interceptors=[dump]) as process:
        ids = {answered.headers["x-evalside-id"] for answered in by_every_worker(process, [USER])}
        wait_for(lambda: _dumped(tmp_path) == ids, 20)
        process.kill()
        process.start()
        assert _dumped(tmp_path) == ids  # what an earlier start wrote is still there


def _dumped(folder: Any) -> set[str]:
    found: set[str] = set()
    for path in folder.glob("pairs*.json"):
        try:
            found |= {pair["request_id"] for pair in json.loads(path.read_text())["pairs"]}
        except ValueError:  # it is being written
            continue
    return found
