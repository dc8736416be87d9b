import json

from rich.console import Console
from typer.testing import CliRunner

from harness.launcher import ls


def test_tasks_are_listed_with_what_they_need(evalside):
    code, output = evalside("ls", "tasks")
    assert code == 0
    assert "gsm8k" in output
    assert "echo_logprobs" in output
    rows = json.loads(evalside("ls", "tasks", "--json")[1])
    [smoke] = [row for row in rows if row["name"] == "smoke"]
    assert smoke["harness"] == "native"
    assert smoke["endpoint_types"] == ["chat", "completions"]
    assert {"needs", "dataset", "license"} <= smoke.keys()


def test_a_narrow_screen_has_names_whole_and_leaves_out_where_data_come_from(monkeypatch):
    monkeypatch.setattr(ls, "screen", lambda: Console(width=100))
    output = CliRunner().invoke(ls.ls_app, ["tasks"]).output
    assert "mmlu_pro_computer_science" in output
    assert "license" not in output
    monkeypatch.setattr(ls, "screen", lambda: Console(width=200))
    assert "license" in CliRunner().invoke(ls.ls_app, ["tasks"]).output


def test_runs_are_listed_newest_first(ran, evalside):
    first, second = ran(), ran()
    code, output = evalside("ls", "runs")
    assert code == 0
    assert output.index(second) < output.index(first)
    assert "4/4" in output
    rows = json.loads(evalside("ls", "runs", "--json")[1])
    assert [row["id"] for row in rows] == [second, first]
    assert rows[0]["state"] == "success"
    assert rows[0]["tasks"][0]["score"] == 0.25
    assert "plan" not in rows[0]
    assert len(json.loads(evalside("ls", "runs", "--json", "--limit", "1")[1])) == 1


def test_no_run_is_no_error(evalside, standin):
    code, output = evalside("ls", "runs")
    assert (code, output) == (0, "There are no runs here yet; `evalside run` makes one.\n")
