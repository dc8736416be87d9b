from dataclasses import replace

import pytest

from harness.api import ConfigParams, EndpointType
from harness.asked import Asked
from harness.errors import ConfigurationError, EndpointError
from harness.journal import Journal
from harness.records import SampleRecord, Tally
from harness.redact import Redactor
from harness.runner import run_task
from harness.tasks.smoke import SmokeTask
from proxy.testing import Reply

CHAT = "/v1/chat/completions"
TASK = SmokeTask()
RIGHT = {sample.query: sample.accepted[0] for sample in TASK.samples()}


def question(request) -> str:
    return request.json["messages"][0]["content"].removeprefix("Question: ").removesuffix("\nAnswer:")


@pytest.fixture
def ask(server):
    async def run(on_progress=lambda _: None, model_id=None, **params):
        asked = Asked(server.url, EndpointType.CHAT, model_id, ConfigParams(**params))
        return await run_task(TASK, asked, on_progress=on_progress)

    return run


async def test_every_sample_is_asked_once_graded_and_sorted(ask, server, said):
    server.on(CHAT, lambda request: said(RIGHT[question(request)]))
    records, tally = await ask(parallelism=8)
    assert [record.id for record in records] == [sample.id for sample in TASK.samples()]
    assert all(record.score == 1.0 for record in records)
    assert len(server.generation_requests) == tally.done == tally.total == 48
    assert (tally.hits, tally.errors, tally.upstream_calls) == (0, 0, 48)
    first = records[0]
    assert (first.sub_query_id, first.query, first.ground_truth) == (0, "What is 2 plus 3?", ["5", "five"])
    assert (first.generation, first.answer, first.score_name) == ("5", "5", "accuracy")
    assert (first.num_prompt_tokens, first.num_generated_tokens, first.finish_reason) == (7, 3, "stop")


class Changed(SmokeTask):
    """Its first question is put otherwise, and another answer is right for its second."""

    def samples(self):
        first, second, *others = super().samples()
        return [replace(first, query=f"{first.query} Quickly!"), replace(second, accepted=("otherwise",)), *others]


async def test_a_run_that_goes_on_asks_again_what_was_changed_since(server, said, tmp_path):
    server.on(CHAT, lambda _: said("x"))
    asked = Asked(server.url, EndpointType.CHAT, None, ConfigParams(limit_samples=4))
    with Journal(tmp_path, "r1", Redactor()) as journal:
        await run_task(TASK, asked, journal=journal)
    for again in (2, 0):
        server.clear()
        with Journal(tmp_path, "r1", Redactor()) as journal:
            records, tally = await run_task(Changed(), asked, journal=journal)
        assert len(server.generation_requests) == again
        assert (len(records), tally.total, tally.done, tally.resumed) == (4, 4, 4, 4 - again)
        assert [record.query for record in records] == [sample.query for sample in Changed().samples()[:4]]
        assert records[1].ground_truth == ["otherwise"]


async def test_parallelism_is_used_and_never_exceeded(ask, server, said):
    done = 0
    in_flight: list[int] = []

    def progress(tally: Tally) -> None:
        nonlocal done
        done = tally.done

    def answer(_request):
        in_flight.append(len(in_flight) + 1 - done)
        return said("x", delay=0.02)

    server.on(CHAT, answer)
    await ask(progress, parallelism=3, limit_samples=12)
    assert max(in_flight) == 3


async def test_cache_hits_are_counted(ask, server, said):
    server.on(CHAT, lambda _: said("x", headers={"x-evalside-cache": "hit", "x-evalside-id": "e"}))
    records, tally = await ask(limit_samples=5)
    assert (tally.hits, tally.upstream_calls) == (5, 0)
    assert {(record.cache, record.exchange_id) for record in records} == {("hit", "e")}


async def test_a_failed_sample_is_an_error_not_a_zero(ask, server, said, refused):
    server.on(CHAT, lambda request: refused(400, "too long") if "2 plus 3" in question(request) else said("x"))
    records, tally = await ask(limit_samples=4)
    assert tally.errors == 1
    assert (records[0].error, records[0].score, records[0].generation) == ("HTTP 400: too long", None, None)
    assert all(record.error is None and record.score == 0.0 for record in records[1:])


async def test_a_refused_key_ends_the_run_at_once(ask, server, refused):
    server.on(CHAT, refused(401, "bad key"))
    with pytest.raises(EndpointError, match="bad key"):
        await ask(parallelism=2)
    assert len(server.generation_requests) <= 2


async def test_parameters_replace_those_of_the_task(ask, server, said):
    server.on(CHAT, said("x"))
    await ask(limit_samples=1, temperature=0.5, top_p=0.9, max_new_tokens=5)
    body = server.generation_requests[0].json
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.5, 0.9, 5)


async def test_the_only_model_is_asked(ask, server, said):
    server.on(CHAT, said("x"))
    await ask(limit_samples=1)
    assert server.generation_requests[0].json["model"] == "mock-model"


async def test_a_chosen_model_is_asked(ask, server, said):
    server.on(CHAT, said("x"))
    await ask(limit_samples=1, model_id="mine")
    assert server.generation_requests[0].json["model"] == "mine"


async def test_a_server_without_a_list_gets_no_model(ask, server, said):
    server.on(CHAT, said("x"))
    server.on("/v1/models", Reply(status=404))
    await ask(limit_samples=1)
    assert "model" not in server.generation_requests[0].json


async def test_several_models_need_a_choice(ask, server):
    server.on("/v1/models", Reply(json={"data": [{"id": "a"}, {"id": "b"}]}))
    with pytest.raises(ConfigurationError, match=r"2 models; choose one with model_id \(--model-id\): a, b"):
        await ask()


async def test_progress_starts_at_nothing_and_ends_with_all(ask, server, said):
    server.on(CHAT, said("x"))
    seen = []
    await ask(lambda tally: seen.append(replace(tally)), limit_samples=3, parallelism=1)
    assert [(tally.done, tally.total) for tally in seen] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert 0 < seen[1].seconds <= seen[3].seconds


def test_repetitions_count_as_upstream_calls():
    record = SampleRecord(
        id="a", sub_query_id=0, query="q", generation="g", ground_truth=[], answer="g", score=1.0, score_name="s",
        num_prompt_tokens=None, num_generated_tokens=None, finish_reason=None, cache="miss", exchange_id=None,
        latency_ms=1.0, attempts=3, error=None,
    )  # fmt: skip
    tally = Tally(total=2)
    tally.add(record)
    tally.add(replace(record, cache="coalesced", attempts=1))
    assert (tally.upstream_calls, tally.hits) == (3, 1)
