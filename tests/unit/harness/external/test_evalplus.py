"""The forms of evalplus 0.3.1."""

import pytest

from harness.api import EndpointType
from harness.errors import ConfigurationError
from harness.external.base import OutputError
from harness.external.evalplus import EvalPlus
from tests.unit.harness.external.asking import make_ask, option, write

SOLUTIONS = "humaneval/org--m_openai_temp_0.0.jsonl"


def test_greedy_generation_with_a_limit_and_problems_of_ones_own(tmp_path):
    [call] = EvalPlus().calls(make_ask(tmp_path, "humaneval", options={"dataset_path": "p.jsonl"}, limit_samples=2))
    assert "--greedy" in call.argv
    assert option(call.argv, "--id_range") == "[0,2]"
    assert option(call.argv, "--base_url").endswith("/v1")
    assert call.env["HUMANEVAL_OVERRIDE_PATH"].endswith("/p.jsonl")
    assert [str(path) for path in call.reads] == [call.env["HUMANEVAL_OVERRIDE_PATH"]]


def test_several_answers_are_sampled(tmp_path):
    [call] = EvalPlus().calls(make_ask(tmp_path, "mbpp", options={"n_samples": 3}))
    assert (option(call.argv, "--n_samples"), option(call.argv, "--temperature")) == ("3", "0.8")
    assert "--greedy" not in call.argv


def test_programs_are_run_only_where_that_is_asked_for(tmp_path):
    calls = EvalPlus().calls(make_ask(tmp_path, "humaneval", options={"execute": True}))
    assert [call.argv[0] for call in calls] == ["evalplus.codegen", "evalplus.evaluate"]
    assert option(calls[1].argv, "--samples") == str(tmp_path / SOLUTIONS)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"task": "humanevil"}, "did you mean 'humaneval'"),
        ({"kind": EndpointType.COMPLETIONS}, "'completions'"),
        ({"top_p": 0.5}, "cannot be told top_p"),
        ({"max_new_tokens": 5}, "cannot be told max_new_tokens"),
        ({"limit_samples": 0.5}, "is a share"),
        ({"options": {"execute": "false"}}, "execute is 'false'; it takes true or false"),
        ({"options": {"n_samples": "many"}}, "n_samples is 'many'; it takes a whole number, 1 or more"),
        ({"limit_samples": 2, "options": {"execute": True}}, "all problems or none"),
        ({"options": {"n_samples": 2}, "temperature": 0.0}, "n_samples 2 at temperature 0"),
    ],
)
def test_what_it_cannot_do_is_refused(tmp_path, fields, said):
    with pytest.raises(ConfigurationError, match=said):
        EvalPlus().calls(make_ask(tmp_path, **{"task": "humaneval", **fields}))


def test_generation_alone_has_no_score(tmp_path):
    write(tmp_path / SOLUTIONS, *({"task_id": "HumanEval/0", "solution": text} for text in ("a", "b")))
    result, rows = EvalPlus().outcome(make_ask(tmp_path, "humaneval"))
    assert result.tasks["humaneval"].metrics["generated"].scores["generated"].value == 2
    assert [(row["sub_query_id"], row["generation"], row["score"]) for row in rows] == [(0, "a", None), (1, "b", None)]


def test_tested_programs_give_pass_at_k(tmp_path):
    path = write(tmp_path / SOLUTIONS, {"task_id": "HumanEval/0", "solution": "a"})

    def told(base, plus):
        return {"solution": "a", "base_status": base, "plus_status": plus}

    problems = {
        "HumanEval/0": [told("pass", "fail")],
        "HumanEval/1": [told("pass", "pass")],
        "HumanEval/2": [told("fail", "pass")],
    }
    write(path.with_name(path.name.replace(".jsonl", "_eval_results.json")), {"eval": problems})
    result, rows = EvalPlus().outcome(make_ask(tmp_path, "humaneval"))
    metrics = result.tasks["humaneval"].metrics
    assert metrics["pass@1"].scores["pass@1"].value == pytest.approx(2 / 3)
    assert metrics["plus_pass@1"].scores["plus_pass@1"].value == pytest.approx(1 / 3)
    assert rows[0]["scores"] == {"pass@1": 1.0, "plus_pass@1": 0.0}


def test_base_tests_alone_have_no_plus_score(tmp_path):
    path = write(tmp_path / SOLUTIONS, {"task_id": "HumanEval/0", "solution": "a"})
    tested = {"eval": {"HumanEval/0": [{"solution": "a", "base_status": "pass", "plus_status": None}]}}
    write(path.with_name(path.name.replace(".jsonl", "_eval_results.json")), tested)
    assert set(EvalPlus().outcome(make_ask(tmp_path, "humaneval")).result.tasks["humaneval"].metrics) == {"pass@1"}


def test_no_tested_problem_is_an_error(tmp_path):
    path = write(tmp_path / SOLUTIONS, {"task_id": "HumanEval/0", "solution": "a"})
    write(path.with_name(path.name.replace(".jsonl", "_eval_results.json")), {"eval": {}})
    with pytest.raises(OutputError, match="holds no problem"):
        EvalPlus().outcome(make_ask(tmp_path, "humaneval"))


def test_missing_solutions_are_an_error(tmp_path):
    with pytest.raises(OutputError, match="left no org--m_openai"):
        EvalPlus().outcome(make_ask(tmp_path, "humaneval"))
