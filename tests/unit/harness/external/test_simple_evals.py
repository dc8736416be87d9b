"""The forms of nvidia-simple-evals 26.3."""

import pytest

from harness.api import EndpointType
from harness.errors import ConfigurationError
from harness.external.base import OutputError
from harness.external.simple_evals import SimpleEvals
from tests.unit.harness.external.asking import make_ask, option, write


def test_what_is_not_configured_is_as_in_its_own_defaults(tmp_path):
    [call] = SimpleEvals().calls(make_ask(tmp_path, "mmlu_pro"))
    assert option(call.argv, "--url") == "http://127.0.0.1:4000/-/runs/r/v1/chat/completions"
    assert (option(call.argv, "--temperature"), option(call.argv, "--top_p")) == ("0.0", "1e-05")
    assert option(call.argv, "--max_tokens") == "16384"
    assert "--first_n" not in call.argv
    assert call.env["NEMO_EVALUATOR_TELEMETRY_LEVEL"] == "0"


def test_what_is_configured_reaches_the_command(tmp_path):
    options = {"n_samples": 2, "data_dir": str(tmp_path)}
    [call] = SimpleEvals().calls(make_ask(tmp_path, "mgsm", options=options, limit_samples=5, top_p=1.0, max_retries=0))
    assert (option(call.argv, "--first_n"), option(call.argv, "--num_repeats")) == ("5", "2")
    assert (option(call.argv, "--top_p"), option(call.argv, "--max_retries")) == ("1.0", "0")
    assert call.cwd == tmp_path


@pytest.mark.parametrize(
    ("fields", "said"), [({"kind": EndpointType.COMPLETIONS}, "'completions'"), ({"limit_samples": 0.5}, "is a share")]
)
def test_what_it_cannot_do_is_refused(tmp_path, fields, said):
    with pytest.raises(ConfigurationError, match=said):
        SimpleEvals().calls(make_ask(tmp_path, "mgsm", **fields))


def test_the_whole_comes_first_and_subsets_after_it(tmp_path):
    document = {
        "law": 0.25,
        "law:std": 0.1,
        "score:std": 0.2,
        "score:stderr": 0.05,
        "score": 0.5,
        "task_name": "x",
        "n_repeats": 2,
    }
    write(tmp_path / "mmlu_pro.json", document)
    result, rows = SimpleEvals().outcome(make_ask(tmp_path, "mmlu_pro"))
    metrics = result.tasks["mmlu_pro"].metrics
    assert list(metrics) == ["score", "law"]
    assert metrics["score"].scores["score"].stats.stderr == 0.05
    assert metrics["law"].scores["law"].stats.stderr is None
    assert rows == []


@pytest.mark.parametrize("document", [None, {"law": 1.0}])
def test_a_missing_score_is_an_error(tmp_path, document):
    if document is not None:
        write(tmp_path / "mmlu_pro.json", document)
    with pytest.raises(OutputError, match=r"score|left no"):
        SimpleEvals().outcome(make_ask(tmp_path, "mmlu_pro"))
