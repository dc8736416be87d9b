import json
import sys
from pathlib import Path

import pytest
import yaml

from harness.demo_lm_eval import find_lm_eval, run_lm_eval, write_task
from harness.errors import ConfigurationError, EvaluationError

SUCCEEDS = """
import json, os, pathlib, sys
output = pathlib.Path(sys.argv[sys.argv.index("--output_path") + 1]) / "m"
output.mkdir()
(output / "argv.json").write_text(json.dumps([sys.argv, dict(os.environ)]))
(output / "results_1.json").write_text(json.dumps({"results": {"evalside_smoke": {"exact_match,strip": 0.5}}}))
"""


@pytest.fixture
def make_executable(tmp_path):
    def make(code: str) -> str:
        path = tmp_path / "lm_eval"
        path.write_text(f"#!{sys.executable}\n{code}")
        path.chmod(0o755)
        return str(path)

    return make


def test_the_task_asks_the_smoke_questions_from_local_data(tmp_path):
    write_task(tmp_path / "task")
    document = yaml.safe_load((tmp_path / "task" / "evalside_smoke.yaml").read_text())
    data = Path(document["dataset_kwargs"]["data_files"]["test"])
    assert data.is_absolute()
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    assert len(rows) == 48
    assert rows[0]["prompt"].endswith("Question: What is 2 plus 3?\nAnswer:")
    assert rows[0]["target"] == "5"


def test_the_score_is_read_and_no_key_or_network_is_offered(make_executable, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    output = tmp_path / "out"
    assert run_lm_eval(make_executable(SUCCEEDS), "http://127.0.0.1:1", "smollm2", tmp_path / "task", output) == 0.5
    argv, env = json.loads((output / "m" / "argv.json").read_text())
    arguments = argv[argv.index("--model_args") + 1]
    assert arguments.startswith("model=smollm2,base_url=http://127.0.0.1:1/v1/completions,")
    assert env["HF_HUB_OFFLINE"] == "1"
    assert env["HF_HOME"] == str(tmp_path / "task" / "hf")
    assert "OPENAI_API_KEY" not in env


def test_a_failure_shows_the_end_of_the_log(make_executable, tmp_path):
    with pytest.raises(EvaluationError, match=r"exit code 3; .*\n.*no such task"):
        run_lm_eval(
            make_executable("import sys; print('no such task'); sys.exit(3)"), "u", "m", tmp_path, tmp_path / "o"
        )


def test_no_results_is_a_failure(make_executable, tmp_path):
    with pytest.raises(EvaluationError, match="exit code 0"):
        run_lm_eval(make_executable(""), "u", "m", tmp_path, tmp_path / "o")


def test_the_variable_wins(make_executable, monkeypatch):
    path = make_executable("")
    monkeypatch.setenv("LM_EVAL_EXECUTABLE", path)
    assert find_lm_eval() == path


def test_a_variable_that_names_nothing_is_an_error(monkeypatch):
    monkeypatch.setenv("LM_EVAL_EXECUTABLE", "/no/such/lm_eval")
    with pytest.raises(ConfigurationError, match="LM_EVAL_EXECUTABLE is '/no/such/lm_eval'"):
        find_lm_eval()


def test_the_path_is_searched_last(make_executable, monkeypatch, tmp_path):
    monkeypatch.delenv("LM_EVAL_EXECUTABLE", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert find_lm_eval() is None
    path = make_executable("")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_lm_eval() == path
