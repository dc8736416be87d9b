import csv
import io
import json
import sys
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import pytest

from harness.errors import ConfigurationError, ExportError
from harness.reporting import exporting
from harness.reporting.folder import read_folder
from tests.unit.harness.reporting.made import folder, results, row


@pytest.fixture
def ended(tmp_path):
    path = folder(tmp_path / "one", [row(1)])
    report = {"tasks": {"quiz": {"accuracy": {"interval": [0.5, 1.0]}}}}
    (path / "report.json").write_text(json.dumps(report))
    return read_folder(path)


def test_json_has_the_reference_form(ended):
    found = json.loads(exporting.as_json([ended, ended]))
    entries = found["benchmarks"]["quiz"]["models"]["m"]
    assert [entry["scores"]["accuracy_accuracy"] for entry in entries] == [1.0, 1.0]


def test_csv_has_a_line_for_each_score_with_its_interval(ended):
    rows = list(csv.DictReader(io.StringIO(exporting.as_csv([ended]).decode())))
    assert [(each["metric"], each["score"], each["value"]) for each in rows] == [
        ("accuracy", "accuracy", "1.0"),
        ("errors", "count", "0.0"),
    ]
    assert (rows[0]["low"], rows[0]["high"], rows[0]["stderr"]) == ("0.5", "1.0", "0.1")


def test_every_task_of_a_folder_is_written(ended):
    parts = {"both": 0.5, "one": 1.0}
    tasks = {name: results(name, value)["tasks"][name] for name, value in parts.items()}
    several = replace(ended, results={**ended.results, "results": {"tasks": tasks}}, report={})
    rows = csv.DictReader(io.StringIO(exporting.as_csv([several]).decode()))
    assert [(each["task"], each["value"]) for each in rows if each["metric"] == "accuracy"] == [
        ("both", "0.5"), ("one", "1.0"),
    ]  # fmt: skip
    found = json.loads(exporting.as_json([several]))["benchmarks"]
    assert {name: found[name]["models"]["m"][0]["scores"]["accuracy_accuracy"] for name in found} == parts


def test_mlflow_gets_names_that_it_takes(ended, monkeypatch):
    class Fake:
        logged: ClassVar[dict[str, float]] = {}
        info = SimpleNamespace(run_id="r1")

        def set_experiment(self, name):
            pass

        @contextmanager
        def start_run(self, run_name):
            yield self

        def log_metrics(self, metrics):
            self.logged.update(metrics)

        def log_params(self, params):
            pass

        def log_artifact(self, path):
            pass

    score = {"scores": {"exact_match,strict-match": {"value": 0.5}}}
    tasks = {"quiz": {"metrics": {"exact_match,strict-match": score, "pass@1": {"scores": {"pass@1": {"value": 1.0}}}}}}
    monkeypatch.setitem(sys.modules, "mlflow", Fake())
    assert exporting.to_mlflow([replace(ended, results={**ended.results, "results": {"tasks": tasks}})]) == ["r1"]
    assert Fake.logged == {"quiz/exact_match_strict-match/exact_match_strict-match": 0.5, "quiz/pass_1/pass_1": 1.0}


def test_what_a_tracker_refuses_is_told_in_its_own_words(ended, monkeypatch):
    def init(**_):
        raise RuntimeError("no account is logged in")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with pytest.raises(ExportError, match=r"Weights & Biases does not take the scores: no account is logged in"):
        exporting.to_wandb([ended])


def test_an_unknown_format_suggests_the_nearest(ended, tmp_path):
    with pytest.raises(ConfigurationError, match="did you mean 'json'"):
        exporting.write([ended], "jsno", tmp_path / "x")


def test_a_file_that_cannot_be_written_is_named(ended, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"cannot write .*file/x\.json"):
        exporting.write([ended], "json", tmp_path / "file" / "x.json")


def test_a_file_is_written_with_its_folder(ended, tmp_path):
    exporting.write([ended], "csv", tmp_path / "new" / "x.csv")
    assert (tmp_path / "new" / "x.csv").read_text().startswith("task,model,metric")


@pytest.mark.parametrize(
    ("call", "package"),
    [
        (lambda ended: exporting.as_parquet([ended]), "pyarrow"),
        (lambda ended: exporting.to_mlflow([ended]), "mlflow"),
        (lambda ended: exporting.to_wandb([ended]), "wandb"),
    ],
)
def test_a_missing_extra_is_an_error_that_says_how_to_install_it(ended, call, package, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ConfigurationError, match=rf"needs {package}.*pip install 'evalside\["):
        call(ended)
