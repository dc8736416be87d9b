"""Exports with the packages themselves, where they are installed: to files, without a network."""

import io
import json
from pathlib import Path

import pytest

from harness.errors import ExportError
from harness.reporting import exporting
from harness.reporting.folder import read_folder
from tests.unit.harness.reporting.made import folder, row


@pytest.fixture
def ended(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return read_folder(folder(tmp_path / "one", [row(1)], limit_samples=3, extra={"long": "x" * 9000}))


def package(name):
    return pytest.importorskip(name, reason=f"needs {name.partition('.')[0]}, an extra that is not installed")


def test_parquet_has_the_table_and_its_types_also_where_nothing_has_an_interval(ended):
    parquet = package("pyarrow.parquet")
    table = parquet.read_table(io.BytesIO(exporting.as_parquet([ended, ended])))
    assert [str(kind) for kind in table.schema.types] == [
        "string", "string", "string", "string", "double", "double", "int64", "double", "double", "string",
    ]  # fmt: skip
    rows = table.to_pylist()
    assert rows[0] == {
        "task": "quiz", "model": "m", "metric": "accuracy", "score": "accuracy", "value": 1.0, "stderr": 0.1,
        "count": 2, "low": None, "high": None, "folder": str(ended.path),
    }  # fmt: skip
    assert len(rows) == 4


def test_mlflow_has_scores_settings_and_results_of_each_task(ended, monkeypatch):
    mlflow = package("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    where = Path("mlruns").resolve().as_uri()
    first, second = exporting.to_mlflow([ended, ended], tracking_uri=where, experiment="ours")
    assert first != second
    run = mlflow.get_run(first)
    assert run.info.run_name == "quiz one"
    assert run.data.metrics == {"quiz/accuracy/accuracy": 1.0, "quiz/errors/count": 0.0}
    assert (run.data.params["model_id"], run.data.params["params.limit_samples"]) == ("m", "3")
    assert [each.path for each in mlflow.MlflowClient().list_artifacts(first)] == ["results.yml"]


def test_what_mlflow_refuses_is_told_in_its_own_words(ended, monkeypatch):
    package("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with pytest.raises(ExportError, match=r"MLflow does not take the scores: .*nowhere"):
        exporting.to_mlflow([ended], tracking_uri="nowhere://at-all")


def test_wandb_has_scores_and_settings_of_each_task(ended, monkeypatch):
    package("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    ids = exporting.to_wandb([ended, ended], project="ours")
    for id_ in ids:
        [file] = Path("wandb").glob(f"offline-run-*/run-{id_}.wandb")
        content = file.read_bytes()
        assert b"quiz/accuracy/accuracy" in content
        assert json.dumps(ended.task).encode() in content
        assert b"question 1" not in content, "samples stay here"
