"""The forms of evalscope 1.14.1."""

import json

import pytest

from harness.api import EndpointType
from harness.errors import ConfigurationError
from harness.external.base import OutputError
from harness.external.evalscope import EvalScope
from tests.unit.harness.external.asking import make_ask, option, write

REVIEW = {
    "index": 1,
    "target": ["3"],
    "messages": [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "3"}],
    "sample_score": {
        "score": {
            "value": {"accuracy": 1.0},
            "extracted_prediction": "3",
            "prediction": "It is 3",
            "main_score_name": "accuracy",
        },
        "generation_index": 0,
    },
}


def test_what_is_configured_reaches_the_command(tmp_path):
    options = {"dataset_args": {"local_path": "/data"}}
    [call] = EvalScope().calls(
        make_ask(tmp_path, "gsm8k", options=options, limit_samples=2, temperature=0.0, max_new_tokens=8)
    )
    assert option(call.argv, "--api-url") == "http://127.0.0.1:4000/-/runs/r/v1"
    assert json.loads(option(call.argv, "--dataset-args")) == {"gsm8k": {"local_path": "/data"}}
    assert json.loads(option(call.argv, "--generation-config")) == {"max_tokens": 8, "temperature": 0.0}
    assert option(call.argv, "--limit") == "2"


def test_nothing_is_told_of_what_is_not_configured(tmp_path):
    [call] = EvalScope().calls(make_ask(tmp_path, "gsm8k"))
    assert not {"--limit", "--dataset-args", "--generation-config"} & set(call.argv)


@pytest.mark.parametrize(
    ("fields", "said"), [({"kind": EndpointType.COMPLETIONS}, "'completions'"), ({"max_retries": 1}, "max_retries")]
)
def test_what_it_cannot_do_is_refused(tmp_path, fields, said):
    with pytest.raises(ConfigurationError, match=said):
        EvalScope().calls(make_ask(tmp_path, "gsm8k", **fields))


@pytest.mark.parametrize("told", [{"identity": {"name": "accuracy"}}, {"name": "accuracy"}], ids=["v2", "v1"])
def test_the_report_and_its_reviews_are_read(tmp_path, told):
    write(tmp_path / "2026" / "reports" / "m" / "gsm8k.json", {"metrics": [{**told, "num": 2, "score": 0.5}]})
    write(tmp_path / "2026" / "reviews" / "m" / "gsm8k_main.jsonl", REVIEW)
    result, [row] = EvalScope().outcome(make_ask(tmp_path, "gsm8k"))
    accuracy = result.tasks["gsm8k"].metrics["accuracy"].scores["accuracy"]
    assert (accuracy.value, accuracy.stats.count) == (0.5, 2)
    assert (row["id"], row["score"], row["answer"], row["group"]) == ("main/1", 1.0, "3", "main")
    assert (row["query"], row["generation"], row["ground_truth"]) == ("How many?", "It is 3", ["3"])


@pytest.mark.parametrize("document", [None, {"metrics": []}])
def test_a_missing_report_is_an_error(tmp_path, document):
    if document is not None:
        write(tmp_path / "2026" / "reports" / "m" / "gsm8k.json", document)
    with pytest.raises(OutputError, match=r"left no report|no metric"):
        EvalScope().outcome(make_ask(tmp_path, "gsm8k"))
