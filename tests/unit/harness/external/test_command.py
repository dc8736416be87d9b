import pytest

from harness.errors import ConfigurationError
from harness.external.base import OutputError
from harness.external.command import Command
from tests.unit.harness.external.asking import make_ask, write


def test_what_the_command_names_is_replaced_and_nothing_is_a_shell(tmp_path):
    text = "my-eval --url $base_url --out '$output_dir/a b' --limit=$limit -m $model; rm $$HOME"
    [call] = Command().calls(make_ask(tmp_path, "mine", options={"command": text}, limit_samples=3))
    assert call.argv == (
        "my-eval", "--url", "http://127.0.0.1:4000/-/runs/r/v1", "--out", f"{tmp_path}/a b", "--limit=3",
        "-m", "org/m;", "rm", "$HOME",
    )  # fmt: skip
    assert call.env["OPENAI_BASE_URL"].endswith("/v1")


def test_what_is_not_configured_is_empty(tmp_path):
    [call] = Command().calls(make_ask(tmp_path, "mine", options={"command": "x --top_p=$top_p"}))
    assert call.argv == ("x", "--top_p=")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "needs params.extra.command"),
        (" ", "needs"),
        ("a $nope", r"\$nope, which is none of"),
        ("a '", "no command line"),
        ("a $", "no command line"),
    ],
)
def test_a_wrong_command_is_an_error(tmp_path, text, said):
    with pytest.raises(ConfigurationError, match=said):
        Command().calls(make_ask(tmp_path, "mine", options={"command": text}))


def test_the_numbers_at_the_top_are_the_metrics(tmp_path):
    write(tmp_path / "results.json", {"acc": 0.5, "n": 2, "ok": True, "name": "x"})
    result, rows = Command().outcome(make_ask(tmp_path, "mine"))
    assert {name: each.scores[name].value for name, each in result.tasks["mine"].metrics.items()} == {
        "acc": 0.5,
        "n": 2.0,
    }
    assert rows == []


def test_metrics_are_found_where_they_are_said_to_be(tmp_path):
    write(tmp_path / "out" / "r.json", {"scores": [{"acc": 0.25}]})
    options = {"results": "out/r.json", "metrics": {"accuracy": "scores.0.acc"}}
    metrics = Command().outcome(make_ask(tmp_path, "mine", options=options)).result.tasks["mine"].metrics
    assert metrics["accuracy"].scores["accuracy"].value == 0.25


@pytest.mark.parametrize(
    ("document", "metrics", "said"),
    [
        (None, None, "left no"),
        ("[1]", None, "no number at its top"),
        ("{", None, "no JSON"),
        ('{"a": {"b": true}}', {"x": "a.b"}, "is True and no number"),
        ('{"a": [1]}', {"x": "a.1"}, "there is no '1'"),
    ],
)
def test_missing_scores_are_an_error(tmp_path, document, metrics, said):
    if document is not None:
        (tmp_path / "results.json").write_text(document)
    with pytest.raises(OutputError, match=said):
        Command().outcome(make_ask(tmp_path, "mine", options={"metrics": metrics}))
