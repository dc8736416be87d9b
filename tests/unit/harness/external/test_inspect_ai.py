"""The forms of inspect-ai 0.3.285, as its JSON logs have them."""

import pytest

from harness.api import EndpointType
from harness.errors import ConfigurationError
from harness.external.base import OutputError
from harness.external.inspect_ai import InspectAi
from tests.unit.harness.external.asking import make_ask, option, write


def log(**fields):
    sample = {
        "id": 1,
        "epoch": 2,
        "input": "1+1",
        "target": "2",
        "scores": {"match": {"value": "C", "answer": "2"}},
        "output": {
            "choices": [{"message": {"content": [{"type": "text", "text": "It is 2"}]}, "stop_reason": "max_tokens"}],
            "usage": {"input_tokens": 3, "output_tokens": 4},
        },
    }
    scorer = {"name": "match", "metrics": {"accuracy": {"value": 0.5}, "stderr": {"value": 0.1}}, "scored_samples": 2}
    return {"status": "success", "results": {"scores": [scorer]}, "samples": [sample], **fields}


def test_arguments_of_a_task_arrive_as_what_they_are(tmp_path):
    options = {"task_args": {"topics": ["a", "b"], "shots": None, "strict": True, "name": "x"}}
    [call] = InspectAi().calls(make_ask(tmp_path, "gsm8k", options=options, request_timeout=0.5))
    given = [call.argv[place + 1] for place, word in enumerate(call.argv) if word == "-T"]
    assert given == ['topics=["a", "b"]', "shots=null", "strict=true", "name=x"]
    assert option(call.argv, "--timeout") == "1"


def test_the_provider_and_everything_configured_reach_the_command(tmp_path):
    ask = make_ask(
        tmp_path, "gsm8k", options={"epochs": 3, "task_args": {"fewshot": 0}},
        limit_samples=4, temperature=0.5, top_p=0.9, max_new_tokens=9, max_retries=1, request_timeout=30.0,
        parallelism=2,
    )  # fmt: skip
    [call] = InspectAi().calls(ask)
    assert call.argv[:3] == ("inspect", "eval", "inspect_evals/gsm8k")
    assert option(call.argv, "--model") == "openai-api/sidecar/org/m"
    for name, value in {
        "--limit": "4", "--temperature": "0.5", "--top-p": "0.9", "--max-tokens": "9", "--max-retries": "1",
        "--timeout": "30", "--epochs": "3", "-T": "fewshot=0", "--max-connections": "2",
    }.items():  # fmt: skip
        assert option(call.argv, name) == value
    assert call.env["SIDECAR_BASE_URL"] == "http://127.0.0.1:4000/-/runs/r/v1"


def test_a_file_of_the_users_is_named_from_its_folder(tmp_path):
    (tmp_path / "sums.py").write_text("")
    assert InspectAi.task(f"{tmp_path}/sums.py@sums") == ("sums.py@sums", tmp_path)
    assert InspectAi.task("other/task") == ("other/task", None)
    with pytest.raises(ConfigurationError, match=r"no file 'nowhere\.py'"):
        InspectAi.task("nowhere.py")


@pytest.mark.parametrize(
    ("kind", "limit", "said"), [(EndpointType.COMPLETIONS, 1, "'completions'"), (EndpointType.CHAT, 0.5, "is a share")]
)
def test_what_it_cannot_do_is_refused(tmp_path, kind, limit, said):
    with pytest.raises(ConfigurationError, match=said):
        InspectAi().calls(make_ask(tmp_path, "gsm8k", kind, limit_samples=limit))


def test_scores_and_epochs_are_read(tmp_path):
    write(tmp_path / "logs" / "1.json", log())
    result, [row] = InspectAi().outcome(make_ask(tmp_path, "sums"))
    accuracy = result.tasks["sums"].metrics["accuracy"].scores["accuracy"]
    assert (accuracy.value, accuracy.stats.stderr, accuracy.stats.count) == (0.5, 0.1, 2)
    assert (row["id"], row["sub_query_id"], row["score"], row["answer"]) == ("1", 1, 1.0, "2")
    assert (row["generation"], row["finish_reason"], row["num_generated_tokens"]) == ("It is 2", "length", 4)


def test_several_scorers_keep_their_names_apart(tmp_path):
    scorers = [
        {"name": "match", "metrics": {"accuracy": {"value": 0.5}}},
        {"name": "judge", "metrics": {"mean": {"value": 3.0}, "std": {"value": 1.0}}},
    ]
    told = log(results={"scores": scorers})
    told["samples"][0]["scores"] = {"match": {"value": "P"}, "judge": {"value": 3}, "other": {"value": [1]}}
    write(tmp_path / "logs" / "1.json", told)
    result, [row] = InspectAi().outcome(make_ask(tmp_path, "sums"))
    assert set(result.tasks["sums"].metrics) == {"match/accuracy", "judge/mean", "judge/std"}
    assert row["scores"] == {"match": 0.5, "judge": 3.0}


def test_a_sample_that_failed_has_its_error_and_no_score(tmp_path):
    told = log()
    told["samples"][0] |= {"error": {"message": "boom"}, "scores": None, "output": None, "target": ["2", "two"]}
    told["samples"][0]["input"] = [{"role": "system", "content": "s"}, {"role": "user", "content": "1+1"}]
    write(tmp_path / "logs" / "1.json", told)
    [row] = InspectAi().outcome(make_ask(tmp_path, "sums")).rows
    assert (row["score"], row["error"], row["generation"], row["query"]) == (None, "boom", "", "1+1")
    assert row["ground_truth"] == ["2", "two"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "left no log"),
        (log(status="error", error={"message": "boom"}), "'error': boom"),
        (log(status="cancelled"), "no reason"),
    ],
)
def test_a_run_without_results_is_an_error(tmp_path, document, said):
    if document is not None:
        write(tmp_path / "logs" / "1.json", document)
    with pytest.raises(OutputError, match=said):
        InspectAi().outcome(make_ask(tmp_path, "sums"))
