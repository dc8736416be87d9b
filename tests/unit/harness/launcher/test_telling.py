import csv
import io
import json
import stat
from pathlib import Path

import pytest

from proxy.testing import Reply

CHAT = "/v1/chat/completions"


def test_a_report_shows_scores_intervals_and_findings(ran, evalside):
    run = ran("--output-dir", "out")
    code, output = evalside("report", run[:4])
    assert code == 0
    assert "smoke  accuracy  0.2500, 95 % from" in output
    assert "nothing was found" in output
    assert "out/report.html" in output
    assert json.loads(evalside("report", "out", "--json")[1])[0]["tasks"]["smoke"]["accuracy"]["count"] == 4


def test_findings_are_told_at_the_end_and_may_fail_a_run(evalside, server, standin):
    choice = {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "5"}}
    server.on(CHAT, Reply(json={"choices": [choice]}))
    words = ["run", "-t", "smoke", "--url", server.url, "--limit-samples", "4", "--model-id", "m"]
    code, output = evalside(*words)
    assert code == 0
    assert "truncated: 4 of 4 samples ended at the limit of tokens" in output
    code, output = evalside(*words, "--fail-on", "truncated=0.5", "--output-dir", "out")
    assert code == 3
    assert "error: truncated is 100.0%, above the 50.0% allowed" in output
    assert "truncated: 4 of 4" in evalside("report", "out")[1]
    assert evalside(*words, "--fail-on", "truncated=1")[0] == 0
    code, output = evalside(*words, "--fail-on", "truncatd")
    assert code == 2
    assert "did you mean 'truncated'" in output


def test_the_model_is_told_though_the_endpoint_chose_it(ran, evalside):
    run = ran("--output-dir", "out")
    [report] = json.loads(evalside("report", run, "--json")[1])
    assert report["model"] == json.loads(Path("out/manifest.json").read_text())["model"] == "mock-model"
    assert "mock-model" in Path("out/report.html").read_text()
    assert next(csv.DictReader(io.StringIO(evalside("export", run, "-f", "csv")[1])))["model"] == "mock-model"


def test_two_runs_are_compared(ran, evalside):
    first, second = ran("--output-dir", "a"), ran("--output-dir", "b")
    code, output = evalside("compare", first, "b")
    assert code == 0
    assert f"accuracy: {first} 0.2500, b 0.2500, over 4 samples of both" in output
    assert json.loads(evalside("compare", first, second, "--json")[1])["mcnemar_p"] == 1.0
    code, output = evalside("compare", first, "b", "-t", "smok")
    assert code == 2
    assert "has no task 'smok'; did you mean 'smoke'?" in output


@pytest.mark.parametrize("command", [["report"], ["export"], ["compare", "out"]])
def test_files_of_another_run_in_the_same_folder_are_not_taken_for_its_own(command, ran, evalside):
    first, second = ran("--output-dir", "out"), ran("--output-dir", "out")
    assert evalside(*command, second)[0] == 0
    code, output = evalside(*command, first)
    assert code == 2
    said = " ".join(output.split())
    assert f"out holds the files of '{second}.smoke', not those of run '{first}'" in said
    assert f"`evalside rerun {first} --replay` writes them anew" in said


def test_two_tasks_of_one_benchmark_are_told_apart(evalside, server, said, standin):
    server.on(CHAT, said("5"))
    Path("run.yaml").write_text(
        "evaluation: {tasks: [smoke, {name: smoke, overrides: {config.params.limit_samples: 4}}], "
        "overrides: {config.params.limit_samples: 8}}"
    )
    code, output = evalside("run", "--config", "run.yaml", "--url", server.url, "--output-dir", "out")
    assert code == 0, output
    run = output.split()[1].rstrip(",")
    assert "over 8 samples of both" in evalside("compare", run, run, "-t", "smoke")[1]
    assert "over 4 samples of both" in evalside("compare", run, run, "-t", "smoke-2")[1]
    code, output = evalside("compare", run, run)
    assert code == 2
    assert f"{run} has several tasks; choose one with -t; Valid: smoke, smoke-2" in output


def test_scores_are_exported(ran, evalside):
    run = ran("--output-dir", "out")
    rows = list(csv.DictReader(io.StringIO(evalside("export", run, "--format", "csv")[1])))
    assert (rows[0]["task"], rows[0]["value"]) == ("smoke", "0.25")
    code, _ = evalside("export", run, "-o", "new/results.json")
    assert code == 0
    assert "smoke" in json.loads(Path("new/results.json").read_text())["benchmarks"]
    code, output = evalside("export", run, "--format", "cvs")
    assert code == 2
    assert "did you mean 'csv'" in output


@pytest.mark.parametrize("command", ["report", "export"])
def test_what_is_no_run_is_an_error(command, evalside, standin):
    code, output = evalside(command, "zzz")
    assert code == 2
    assert "there is no run 'zzz'" in output
    Path("empty").mkdir()
    assert "there is no results.yml in empty" in evalside(command, "empty")[1]


def test_a_run_leaves_everything_that_the_reference_page_lists(ran):
    ran("--output-dir", "out")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in Path("out").iterdir()}
    assert modes["results.yml"] == modes["run_config.yml"] == modes["manifest.json"] == 0o644
    assert modes["samples.jsonl"] == modes["report.json"] == modes["report.html"] == 0o600
    assert modes["eval_factory_metrics.json"] == 0o644


def test_its_run_config_runs_it_again(ran, evalside):
    ran("--output-dir", "out")
    code, output = evalside("run", "--config", "out/run_config.yml", "--output-dir", "again")
    assert code == 0, output
    [folder] = Path("again").glob("*/smoke")
    assert json.loads((folder / "report.json").read_text())["tasks"]["smoke"]["accuracy"]["count"] == 4
