"""Another harness's task as a run: through a real sidecar, against a model server on a socket."""

import json
import sys

import pytest

from harness import ApiEndpoint, ConfigParams, EvaluationConfig, EvaluationTarget, evaluate
from harness.errors import ConfigurationError
from harness.external.run import HarnessFailed
from harness.runs.database import Runs
from proxy.testing import Reply

PROGRAM = """
import json, sys, urllib.request
url, folder, model, count = sys.argv[1:]
texts = []
for number in range(int(count)):
    body = {"model": model, "messages": [{"role": "user", "content": f"question {number}"}], "temperature": 0.7}
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url + "/chat/completions", json.dumps(body).encode(), headers)
    texts.append(json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"])
    print("asked", number, flush=True)
json.dump({"length": sum(map(len, texts)) / len(texts)}, open(folder + "/results.json", "w"))
"""


@pytest.fixture
def asking(tmp_path, monkeypatch):
    """A configuration of a harness that asks some questions and scores how long the answers are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.py").write_text(PROGRAM)

    def make(**fields):
        command = f"{sys.executable} {tmp_path}/program.py $base_url $output_dir $model $limit"
        params = ConfigParams(limit_samples=4, extra={"command": command})
        return EvaluationConfig(**{"type": "command.mine", "output_dir": "out", "params": params, **fields})

    return make


def target(server, **fields):
    return EvaluationTarget(api_endpoint=ApiEndpoint(url=f"{server.url}/v1", **fields))


@pytest.mark.timeout(120)
def test_its_requests_are_a_run_of_the_sidecar_and_its_scores_are_results(asking, server, tmp_path):
    result = evaluate(asking(), target(server), run_id="r1")
    assert result.tasks["mine"].metrics["length"].scores["length"].value > 0
    assert len(server.generation_requests) == 4
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["task"], manifest["run"], manifest["cache"]) == ("command.mine", "r1.command.mine", {"miss": 4})
    assert manifest["harness"]["name"] == "command"
    assert (tmp_path / "out" / "harness.log").read_text().splitlines()[-1] == "asked 3"
    with Runs() as runs:
        [job] = runs.jobs(runs.find("r1"))
        assert "command.mine: asked 3" in runs.log_path("r1").read_text()
    assert (job.state, job.done, job.score_name) == ("success", 4, "length")
    # Once more with the same run: a new pass, in which every sample is replayed.
    assert evaluate(asking(output_dir="again"), target(server), run_id="r1") == result
    assert len(server.generation_requests) == 4


@pytest.mark.timeout(120)
def test_a_harness_that_fails_has_failed_the_run(asking, server):
    with pytest.raises(HarnessFailed, match="exit code 3"):
        evaluate(asking(params=ConfigParams(extra={"command": "sh -c 'exit 3'"})), target(server))


def test_it_has_to_name_a_model(asking, server):
    server.on("/v1/models", Reply(json={"data": []}))
    with pytest.raises(ConfigurationError, match="command has to name a model"):
        evaluate(asking(), target(server))


def test_a_judge_is_refused(asking, server):
    judge = {"api_endpoint": {"url": server.url}}
    with pytest.raises(ConfigurationError, match="takes no judge from here"):
        evaluate(asking(judge=judge), target(server))
