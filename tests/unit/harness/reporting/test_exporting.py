import csv
import io
import json

import pytest

from harness.errors import ConfigurationError
from harness.reporting import exporting
from harness.reporting.folder import read_folder
from tests.unit.harness.reporting.made import folder, row


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
