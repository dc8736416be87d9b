"""The forms of lm-eval 0.4.13, as its files have them."""

import json

import pytest

from harness.api import EndpointType
from harness.errors import ConfigurationError
from harness.external.base import OutputError
from harness.external.lm_eval import LmEval
from tests.unit.harness.external.asking import make_ask, option, write

RESULTS = {
    "results": {
        "gsm8k": {
            "name": "gsm8k",
            "alias": "gsm8k",
            "sample_len": 2,
            "exact_match,strict-match": 0.5,
            "exact_match_stderr,strict-match": 0.25,
            "exact_match,flexible-extract": 1.0,
            "exact_match_stderr,flexible-extract": "N/A",
        }
    },
    "n-samples": {"gsm8k": {"original": 1319, "effective": 2}},
}


def line(document, filter_name, value, **fields):
    return {
        "doc_id": document,
        "target": "#### 18",
        "arguments": {"gen_args_0": {"arg_0": ['[{"role": "user", "content": "How many?"}]'], "arg_1": {}}},
        "resps": [["It is 18."]],
        "filtered_resps": ["18"],
        "filter": filter_name,
        "metrics": ["exact_match"],
        "exact_match": value,
        **fields,
    }


def test_a_chat_endpoint_is_called_with_everything_that_was_configured(tmp_path):
    ask = make_ask(
        tmp_path, "gsm8k", options={"num_fewshot": 0, "gen_kwargs": {"until": ["a,b", "x"]}, "data_dir": str(tmp_path)},
        limit_samples=4, max_new_tokens=64, temperature=0.5, top_p=0.9, parallelism=7, max_retries=2,
        request_timeout=30,
    )  # fmt: skip
    [call] = LmEval().calls(ask)
    args = json.loads(option(call.argv, "--model_args"))
    assert call.argv[0] == "lm_eval"
    assert args == {
        "model": "org/m", "base_url": "http://127.0.0.1:4000/-/runs/r/v1/chat/completions", "num_concurrent": 7,
        "max_retries": 3, "timeout": 30.0,
    }  # fmt: skip
    assert option(call.argv, "--limit") == "4"
    assert option(call.argv, "--num_fewshot") == "0"
    assert json.loads(option(call.argv, "--gen_kwargs")) == {
        "max_gen_toks": 64, "temperature": 0.5, "top_p": 0.9, "do_sample": True, "until": ["a,b", "x"],
    }  # fmt: skip
    assert "--apply_chat_template" in call.argv
    assert call.env["HF_HUB_OFFLINE"] == "1"
    assert call.cwd == tmp_path


def test_prompts_go_as_text_unless_there_is_a_tokenizer(tmp_path):
    def args(options):
        [call] = LmEval().calls(make_ask(tmp_path, "arc_easy", EndpointType.COMPLETIONS_LOGPROB, options))
        assert "--apply_chat_template" not in call.argv
        assert call.cwd is None
        return json.loads(option(call.argv, "--model_args"))

    assert args({})["tokenized_requests"] is False
    assert args({})["base_url"].endswith("/v1/completions")
    with_one = args({"tokenizer": "gpt2"})
    assert with_one["tokenizer"] == "gpt2"
    assert "tokenized_requests" not in with_one


def test_an_embedding_endpoint_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="'embedding'"):
        LmEval().calls(make_ask(tmp_path, "gsm8k", EndpointType.EMBEDDING))


def test_scores_have_lm_evals_own_names_and_rows_every_filter(tmp_path):
    write(tmp_path / "m" / "results_2026-01-01T00-00-00.json", RESULTS)
    write(
        tmp_path / "m" / "samples_gsm8k_2026-01-01T00-00-00.jsonl",
        line(0, "strict-match", 0.0), line(1, "strict-match", 1.0),
        line(0, "flexible-extract", 1.0), line(1, "flexible-extract", 1.0),
    )  # fmt: skip
    result, rows = LmEval().outcome(make_ask(tmp_path, "gsm8k"))
    metrics = result.tasks["gsm8k"].metrics
    strict = metrics["exact_match,strict-match"].scores["exact_match,strict-match"]
    assert (strict.value, strict.stats.stderr, strict.stats.count) == (0.5, 0.25, 2)
    assert metrics["exact_match,flexible-extract"].scores["exact_match,flexible-extract"].stats.stderr is None
    assert set(metrics) == {"exact_match,strict-match", "exact_match,flexible-extract"}
    assert [row["id"] for row in rows] == ["gsm8k/0", "gsm8k/1"]
    assert rows[0]["score"] == 0.0
    assert rows[0]["scores"] == {"exact_match,strict-match": 0.0, "exact_match,flexible-extract": 1.0}
    assert (rows[0]["generation"], rows[0]["answer"], rows[0]["ground_truth"]) == ("It is 18.", "18", ["#### 18"])
    assert "How many?" in rows[0]["query"]


def test_a_group_comes_before_its_tasks(tmp_path):
    document = {
        "results": {"mmlu": {"acc,none": 0.5}, "mmlu_law": {"acc,none": 0.25}, "mmlu_art": {"acc,none": 0.75}},
        "groups": {"mmlu": {"acc,none": 0.5, "acc_stderr,none": 0.1}},
        "n-samples": {},
    }
    write(tmp_path / "results_2026.json", document)
    result, rows = LmEval().outcome(make_ask(tmp_path, "mmlu"))
    assert list(result.tasks) == ["mmlu", "mmlu_law", "mmlu_art"]
    assert result.tasks["mmlu"].metrics["acc"].scores["acc"].stats.stderr == 0.1
    assert rows == []


def test_what_a_loglikelihood_task_logs_is_read_too(tmp_path):
    write(tmp_path / "results_2026.json", {"results": {"arc": {"acc,none": 1.0}}})
    told = line(
        0,
        "none",
        1.0,
        metrics=["acc"],
        acc=1.0,
        target=2,
        resps=[[["-1.5", "False"]]],
        filtered_resps=[["-1.5", "False"]],
    )
    write(tmp_path / "samples_arc_2026-01.jsonl", {**told, "arguments": [["q", " a"]]})
    [row] = LmEval().outcome(make_ask(tmp_path, "arc")).rows
    assert (row["score"], row["ground_truth"], row["generation"]) == (1.0, ["2"], "-1.5")


@pytest.mark.parametrize("document", [None, {"results": {}}])
def test_missing_results_are_an_error_that_says_where_to_look(tmp_path, document):
    if document is not None:
        write(tmp_path / "results_2026.json", document)
    with pytest.raises(OutputError, match="lm-eval"):
        LmEval().outcome(make_ask(tmp_path, "gsm8k"))
