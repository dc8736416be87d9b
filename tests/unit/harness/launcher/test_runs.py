import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.launcher.completion import complete_run, complete_task
from harness.runs.database import JobRow, RunRow, Runs
from harness.runs.lock import RunLock
from proxy.testing import Reply
from tests.waiting import wait_for

CHAT = "/v1/chat/completions"


def test_status_says_how_far_a_run_is(ran, evalside):
    run = ran()
    code, output = evalside("status", run[:4])
    assert code == 0
    for part in (f"run {run}: success", "4/4", "accuracy 0.250"):
        assert part in output
    document = json.loads(evalside("status", run, "--json")[1])
    assert (document["id"], document["tasks"][0]["done"]) == (run, 4)


def test_info_tells_all_of_it_without_secrets(ran, evalside, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-0123456789")
    run = ran("--api-key-name", "MY_KEY", "--output-dir", "out")
    code, output = evalside("info", run)
    document = yaml.safe_load(output)
    assert code == 0
    assert document["tasks"]["smoke"] == {"folder": "out", "sidecar_run": f"{run}.smoke", "model_id": "mock-model"}
    assert document["plan"]["tasks"][0]["target"]["api_endpoint"]["api_key_name"] == "MY_KEY"
    assert "sk-0123456789" not in output


def test_logs_are_the_runs_own_or_the_sidecars(ran, evalside):
    run = ran()
    assert "smoke: 4 of 4" in evalside("logs", run)[1]
    assert "smoke: success" in evalside("logs", run, "-f")[1]
    assert "upstream" in evalside("logs", run, "--sidecar")[1]


@pytest.mark.parametrize("command", ["status", "info", "logs", "kill", "resume", "rerun"])
def test_an_unknown_run_is_an_error_that_names_it(command, evalside, standin):
    code, output = evalside(command, "zzz")
    assert code == 2
    assert "error: there is no run 'zzz' in .evalside; `evalside ls runs` lists them" in output


def test_a_complete_run_is_not_resumed(ran, evalside):
    run = ran()
    code, output = evalside("resume", run)
    assert code == 1
    assert f"error: run '{run}' is complete; `evalside rerun {run}` does it again" in output


def test_samples_without_an_answer_are_asked_again_and_no_others(evalside, server, said, refused, standin):
    server.on("/v1/models", Reply(json={"data": [{"id": "m"}]}))
    server.enqueue(refused(400, "too long"))
    server.on(CHAT, said("5"))
    words = ["-t", "smoke", "--url", server.url, "--limit-samples", "4", "--parallelism", "1", "--output-dir", "out"]
    code, output = evalside("run", *words)
    run = output.split()[1].rstrip(",")
    assert code == 1
    assert f"`evalside resume {run}` asks again for what got no answer." in output
    assert not server.pending_replies
    server.clear()
    code, output = evalside("resume", run)
    assert code == 0, output
    assert len(server.generation_requests) == 1
    rows = [json.loads(line) for line in Path("out/samples.jsonl").read_text().splitlines()]
    assert [row["error"] for row in rows] == [None] * 4
    assert json.loads(evalside("status", run, "--json")[1])["state"] == "success"


def test_a_rerun_is_a_new_run(ran, evalside, server):
    run = ran()
    code, output = evalside("rerun", run, "--output-dir", "again")
    assert code == 0, output
    assert run not in output.splitlines()[0]
    assert Path("again/results.yml").exists()
    assert len(json.loads(evalside("ls", "runs", "--json")[1])) == 2


def test_an_incomplete_run_is_not_replayed(evalside, standin):
    with Runs() as runs:
        runs.add(RunRow("r1", 1.0, "running", "run", "out", "{}"), [JobRow("r1", "smoke", "r1.smoke", "out")])
    code, output = evalside("rerun", "--replay", "r1")
    assert code == 1
    assert "error: run 'r1' is interrupted, so it has no whole record; `evalside resume r1`" in output
    assert "`evalside resume r1` goes on with it." in evalside("status", "r1")[1]


def test_kill_stops_a_run_which_can_go_on(evalside, server, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server.on(CHAT, said("5", delay=0.2))
    words = [sys.executable, "-m", "proxy.cli", "run", "-t", "smoke", "--url", server.url, "--parallelism", "1"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(lambda: len(server.generation_requests) >= 2, 30)
    [row] = json.loads(evalside("ls", "runs", "--json")[1])
    assert row["state"] == "running"
    code, output = evalside("kill", row["id"])
    assert code == 0, output
    told, _ = process.communicate(timeout=30)
    assert process.returncode == 143, told
    assert json.loads(evalside("status", row["id"], "--json")[1])["state"] == "killed"
    code, output = evalside("kill", row["id"])
    assert code == 1
    assert f"error: run '{row['id']}' does not run; its state is 'killed'" in output


def test_a_run_of_another_program_is_not_killed(evalside, standin):
    with Runs() as runs:
        runs.add(RunRow("r1", 1.0, "running", "evaluate", "out", "{}"), [JobRow("r1", "smoke", "r1.smoke", "out")])
        with RunLock(runs.lock_path("r1")):
            code, output = evalside("kill", "r1")
    assert code == 1
    assert f"that called evaluate(), process {os.getpid()}; end that" in output


@pytest.mark.parametrize("again", ["resume", "rerun"])
def test_a_run_that_is_gone_on_with_or_done_again_has_thresholds_too(evalside, server, said, refused, standin, again):
    server.enqueue(refused(400))
    server.on(CHAT, said("5"))
    words = ["run", "-t", "smoke", "--url", server.url, "--limit-samples", "4", "--model-id", "m", "--parallelism", "1"]
    code, output = evalside(*words)
    assert code == 1
    run = output.split()[1].rstrip(",")
    server.on(CHAT, said(""))
    code, output = evalside(again, run, "--fail-on", "empty=0.1")
    assert code == 3, output
    assert "error: empty is " in output
    code, output = evalside(again, run, "--fail-on", "emtpy")
    assert code == 2
    assert "did you mean 'empty'" in output


def test_the_shell_completes_tasks_and_runs(ran, evalside, tmp_path, monkeypatch):
    assert {"mmlu_pro", "mmlu_pro_law"} <= set(complete_task("mmlu"))
    assert "lm-eval.gsm8k" in complete_task("lm-eval.g")
    run = ran()
    assert [found for found, _ in complete_run(run[:3])] == [run]
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert complete_run("") == []


def test_a_secret_in_a_header_is_in_no_file_and_given_again_to_go_on(evalside, server, said, standin, monkeypatch):
    secret = "sk-live-0123456789"
    header = "target.api_endpoint.adapter_config.interceptors"
    value = f"[{{name: endpoint, config: {{headers_to_add: {{X-Api-Key: {secret}}}}}}}]"
    server.on(CHAT, said("5"))
    words = ["-t", "smoke", "--url", server.url, "--limit-samples", "2", "-o", f"{header}={value}"]
    code, output = evalside("run", *words)
    assert code == 0, output
    run = output.split()[1].rstrip(",")
    for path in Path().rglob("*"):
        told_by_the_standin = path.name == "sidecar.log"  # its configuration, to be looked at
        assert path.is_dir() or told_by_the_standin or secret.encode() not in path.read_bytes(), path
    assert "[redacted]" in evalside("info", run)[1]

    code, output = evalside("rerun", run)
    assert code == 2
    assert "headers_to_add.X-Api-Key. Give each again, in a variable: --secret X-Api-Key=VARIABLE" in output
    monkeypatch.setenv("MY_KEY", secret)
    with Runs() as runs:
        runs.change(run, state="interrupted")
        runs.change_job(run, "smoke", state="interrupted")
    assert evalside("resume", run)[0] == 2
    code, output = evalside("resume", run, "--secret", "X-Api-Key=MY_KEY")
    assert code == 0, output
    with Runs() as runs:
        assert runs.find(run).state == "success"
        assert secret not in runs.find(run).plan
