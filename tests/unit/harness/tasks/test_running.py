"""Native tasks through the runner, and what comes of it: groups, repeats, unparsed answers, judges."""

import re

import pytest

from harness import ApiEndpoint, ConfigParams, EvaluationConfig, EvaluationTarget, JudgeConfig, evaluate
from harness.api import EndpointType
from harness.asked import Asked
from harness.errors import ConfigurationError
from harness.judge import judging
from harness.results import evaluation_result, main_score
from harness.runner import run_task
from harness.tasks import find_task
from harness.tasks.jsonl import load_task
from harness.tasks.mmlu_pro import CUSTOM, FLEXIBLE, SUBJECTS

CHAT = "/v1/chat/completions"
JUDGED = """
data: rows.jsonl
prompt: "{{ question }}"
grading: {type: llm_judge, prompt: "Is {{ answer }} the same as {{ target }}?"}
"""
SAMPLED = """
data: rows.jsonl
prompt: "{{ question }}"
generation: {temperature: 0.5}
repeats: 3
pass_at: [1, 3]
"""


async def test_subjects_have_scores_of_their_own_and_the_whole_is_the_micro_average(hub, server, said):
    def answer(request):
        subject = re.findall(r"test \d of (.+)\?", request.json["messages"][0]["content"])[-1]
        return said("The answer is (A)." if subject < "health" else "B")

    server.on(CHAT, answer)
    task = find_task("mmlu_pro", {"data_dir": str(hub)})
    records, _ = await run_task(task, Asked(server.url, EndpointType.CHAT))
    result = evaluation_result(task, records)
    assert result.groups
    parts = result.groups["mmlu_pro"].groups
    assert parts
    assert set(parts) == set(SUBJECTS)
    assert parts["biology"].metrics[CUSTOM].scores[CUSTOM].value == 0.5  # the right ones are A and B
    assert parts["law"].metrics[CUSTOM].scores[CUSTOM].value == 0
    assert parts["law"].metrics[FLEXIBLE].scores[FLEXIBLE].value == 0.5
    assert parts["law"].metrics["unparsed"].scores[CUSTOM].value == 2
    whole = result.tasks["mmlu_pro"].metrics
    assert whole[CUSTOM].scores[CUSTOM].value == pytest.approx(6 / 28)
    assert whole[FLEXIBLE].scores[FLEXIBLE].value == pytest.approx(14 / 28)
    assert (whole["unparsed"].scores[CUSTOM].value, whole["unparsed"].scores[FLEXIBLE].value) == (16, 0)
    assert next(iter(whole)) == CUSTOM
    assert records[0].scores == {CUSTOM: records[0].score, FLEXIBLE: records[0].scores[FLEXIBLE]}


@pytest.mark.usefixtures("standin")
def test_evaluate_takes_the_options_of_a_task(hub, server, said, tmp_path):
    server.on(CHAT, said("#### 1,000"))
    params = ConfigParams(limit_samples=4, extra={"data_dir": str(hub), "num_fewshot": 2})
    result = evaluate(
        EvaluationConfig(type="gsm8k", output_dir="out", params=params),
        EvaluationTarget(api_endpoint=ApiEndpoint(url=server.url)),
    )
    assert result.tasks["gsm8k"].metrics["exact_match,strict-match"].scores["exact_match,strict-match"].value == 0.25
    assert result.groups is None
    assert len(server.generation_requests[0].json["messages"]) == 5


@pytest.mark.usefixtures("standin")
def test_missing_data_are_told_before_anything_is_started_or_made(tmp_path):
    params = ConfigParams(extra={"data_dir": str(tmp_path / "none")})
    with pytest.raises(ConfigurationError, match="the data of openai/gsm8k cannot be read"):
        evaluate(
            EvaluationConfig(type="gsm8k", params=params),
            EvaluationTarget(api_endpoint=ApiEndpoint(url="http://127.0.0.1:9")),
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("standin")
def test_a_task_of_ones_own_is_filed_under_its_name(lines, server, said, tmp_path):
    lines(tmp_path / "bench" / "rows.jsonl", [{"question": "q", "target": "t"}])
    (tmp_path / "bench" / "mine.yaml").write_text("data: rows.jsonl\nprompt: '{{ question }}'\n")
    server.on(CHAT, said("T"))
    result = evaluate(
        EvaluationConfig(type="bench/mine.yaml"), EvaluationTarget(api_endpoint=ApiEndpoint(url=server.url))
    )
    assert result.tasks["mine"].metrics["exact"].scores["exact"].value == 1
    [folder] = (tmp_path / "evalside-results").iterdir()
    assert folder.name.startswith("mine-")


@pytest.fixture
def own(lines, tmp_path):
    """A benchmark of two rows, of what a YAML file says of them."""

    def make(text):
        lines(tmp_path / "rows.jsonl", [{"question": name, "target": "yes"} for name in ("one", "two")])
        (tmp_path / "own.yaml").write_text(text)
        return load_task(tmp_path / "own.yaml", {})

    return make


async def test_repeats_are_asked_round_by_round_and_count_once(own, server, said, refused):
    seen: dict[str, int] = {}

    def answer(request):
        name = request.json["messages"][0]["content"]
        seen[name] = seen.get(name, 0) + 1
        if (name, seen[name]) == ("two", 3):
            return refused(400)
        return said("yes" if (name, seen[name]) in {("one", 1), ("two", 1), ("two", 2)} else "no")

    server.on(CHAT, answer)
    task = own(SAMPLED)
    records, tally = await run_task(task, Asked(server.url, EndpointType.CHAT, params=ConfigParams(parallelism=1)))
    asked = [request.json["messages"][0]["content"] for request in server.generation_requests]
    assert asked == ["one", "two"] * 3
    assert [(record.id, record.sub_query_id) for record in records] == [
        (f"own-0000{n}", k) for n in range(2) for k in range(3)
    ]
    assert (tally.total, tally.errors) == (6, 1)
    metrics = evaluation_result(task, records).tasks["own"].metrics
    exact = metrics["exact"].scores["exact"]
    assert exact.value == pytest.approx((1 / 3 + 1) / 2)
    assert exact.stats.count == 2
    assert metrics["pass@1"].scores["pass@1"].value == pytest.approx((1 / 3 + 1) / 2)
    assert metrics["pass@3"].scores["pass@3"].value == 1  # of the one sample with three answers
    assert metrics["pass@3"].scores["pass@3"].stats.count == 1
    assert metrics["errors"].scores["count"].value == 1


async def test_a_judge_grades_over_the_wire(own, server, said, refused):
    server.on(CHAT, lambda request: said({"one": "Yes!", "two": "No."}[request.json["messages"][0]["content"]]))
    with type(server)() as judge_server:
        judge_server.on(
            CHAT,
            lambda request: said("CORRECT" if "Is Yes!" in request.json["messages"][0]["content"] else "INCORRECT"),
        )
        line = Asked(judge_server.url, EndpointType.CHAT, "judge", ConfigParams(max_retries=0))
        async with judging(line) as judge:
            asked = Asked(server.url, EndpointType.CHAT, judge=judge)
            records, _ = await run_task(own(JUDGED), asked)
            assert [(record.answer, record.score) for record in records] == [("CORRECT", 1.0), ("INCORRECT", 0.0)]
            assert judge_server.generation_requests[0].json["messages"][0]["content"].endswith(" the same as yes?")

            judge_server.on(CHAT, refused(500, "overloaded"))
            records, tally = await run_task(own(JUDGED), asked)
    assert tally.errors == 2
    assert {(record.generation, record.score) for record in records} == {("Yes!", None), ("No.", None)}
    assert {record.error for record in records} == {"the judge gave no verdict: HTTP 500: overloaded"}


async def test_a_judged_task_without_a_judge_is_refused(own, server):
    with pytest.raises(ConfigurationError, match="task 'own' is graded by a judge, and this run has none"):
        await run_task(own(JUDGED), Asked(server.url, EndpointType.CHAT))
    assert server.requests == []


@pytest.mark.usefixtures("standin")
def test_evaluate_says_that_it_has_no_judge(own, tmp_path):
    own(JUDGED)
    with pytest.raises(ConfigurationError, match=r"graded by a judge, and there is none; give judge\.api_endpoint"):
        evaluate(
            EvaluationConfig(type="./own.yaml"), EvaluationTarget(api_endpoint=ApiEndpoint(url="http://127.0.0.1:9"))
        )


@pytest.mark.usefixtures("standin")
def test_a_judge_has_a_sidecar_run_and_parameters_of_its_own(own, server, said):
    own(JUDGED)
    server.on(CHAT, said("Yes!"))
    with type(server)() as judge_server:
        judge_server.on(CHAT, said("CORRECT"))
        endpoint = ApiEndpoint(url=judge_server.url, model_id="judge")
        judge = JudgeConfig(api_endpoint=endpoint, params=ConfigParams(max_new_tokens=9, parallelism=1))
        result = evaluate(
            EvaluationConfig(type="./own.yaml", output_dir="out", judge=judge),
            EvaluationTarget(api_endpoint=ApiEndpoint(url=server.url)),
        )
        asked = judge_server.generation_requests[0]
    assert main_score(result.tasks["own"])[1].value == 1
    assert (asked.json["model"], asked.json["max_tokens"], asked.json["temperature"]) == ("judge", 9, 0)
    assert {request.json["model"] for request in server.generation_requests} == {"mock-model"}
