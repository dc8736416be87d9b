"""Native benchmarks and other harnesses that are killed at any moment and go on give what undisturbed ones give."""

import hashlib
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.tasks.mmlu_pro import SUBJECTS
from proxy.testing import ModelServer
from tests.fault.folder import Folder, kill_runner
from tests.hub import write_hub
from tests.waiting import wait_for

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

PARALLELISM = 4
SAMPLED = ["config.params.temperature=0.8", "config.params.extra.body.seed=7"]
PROGRAM = """
import json, sys, urllib.request
url, folder, count = sys.argv[1:]
found = []
for number in range(int(count)):
    body = {"model": "mock-model", "messages": [{"role": "user", "content": f"question {number % 5}"}],
            "temperature": 0.7}
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url + "/chat/completions", json.dumps(body).encode(), headers)
    found.append(json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"])
json.dump({"score": sum(map(len, found)), "different": len(set(found))}, open(folder + "/results.json", "w"))
"""


def by_request(body: dict[str, Any], choice: int, call: int) -> str:
    """An answer that is a function of the request and its seed; some are right, and some cannot be read."""
    text = json.dumps(body, sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    if digest[0] % 7 == 0:
        return "I do not know."
    asked = re.findall(r"how much is (\d+) times", text)
    if asked:
        return f"So it is.\n#### {int(asked[-1]) + digest[1] % 2},000"
    return f"So it is. The answer is ({'ABC'[digest[1] % 3]})."


@dataclass(frozen=True)
class Case:
    """A task with its whole number of samples, and what its runs are told."""

    task: str
    samples: int
    overrides: tuple[str, ...] = ()


GSM8K = Case("gsm8k", 30)
MMLU_PRO = Case("mmlu_pro", 3 * len(SUBJECTS))
CASES = [
    pytest.param(Case(case.task, case.samples, overrides), id=f"{case.task}-{mode}")
    for case in (GSM8K, MMLU_PRO)
    for mode, overrides in (("deterministic", ()), ("sampled", tuple(SAMPLED)))
]


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer(answer=by_request, latency=0.05) as running:
        yield running


def begun(path: Path, server: ModelServer, case: Case) -> Folder:
    data = write_hub(path.parent / "hub", problems=GSM8K.samples, questions=3)
    words = ["-t", case.task, "--parallelism", str(PARALLELISM)]
    return Folder(path, server.url, *words, overrides=[f"config.params.extra.data_dir={data}", *case.overrides])


@pytest.mark.parametrize("case", CASES)
def test_a_benchmark_that_goes_on_equals_an_undisturbed_one(tmp_path, server, case):
    undisturbed = begun(tmp_path / "undisturbed", server, case)
    undisturbed.done(undisturbed.run(), 0)
    results, rows = undisturbed.results()
    assert len(rows) == case.samples
    assert 0 < sum(row["score"] for row in rows) < case.samples
    assert any(row["unparsed"] for row in rows)
    if case.task == "mmlu_pro":
        assert set(results["groups"]["mmlu_pro"]["groups"]) == set(SUBJECTS)

    moment = random.randint(1, case.samples // 2)
    server.clear()
    folder = begun(tmp_path / "killed", server, case)
    process = folder.run()
    wait_for(lambda: len(server.generation_requests) >= moment, 60)
    kill_runner(process)
    run, _ = folder.known()
    assert run.state == "interrupted"
    folder.done(folder.start("resume", run.id[:5]), 0)

    assert folder.results() == (results, rows), f"killed after request {moment}"
    asked = Counter(request.body for request in server.generation_requests)
    assert len(asked) == case.samples
    assert sum(asked.values()) - case.samples <= PARALLELISM, "only what was on its way may be asked twice"


COUNT = 24


def harness(path: Path, server: ModelServer) -> Folder:
    """A harness of one's own that asks five questions again and again, one after the other."""
    program = path.parent / "program.py"
    program.write_text(PROGRAM)
    folder = Folder(path, server.url, "--config", "run.yaml")
    command = f"{sys.executable} {program} $base_url $output_dir {COUNT}"
    task = {"name": "command.mine", "overrides": {"config.params.extra.command": command}}
    document = {"target": {"api_endpoint": {"model_id": "mock-model"}}, "evaluation": {"tasks": [task]}}
    (path / "run.yaml").write_text(yaml.safe_dump(document))
    return folder


def test_another_harness_that_goes_on_is_asked_nothing_again(tmp_path):
    """The model never answers twice alike: what is not replayed would change the score."""
    moment = random.randint(1, COUNT // 2)
    with ModelServer(answer=lambda body, choice, call: "x" * (call + 1), latency=0.05) as server:
        folder = harness(tmp_path / "killed", server)
        process = folder.run()
        wait_for(lambda: len(server.generation_requests) >= moment, 60)
        kill_runner(process)
        run, _ = folder.known()
        assert run.state == "interrupted"
        folder.done(folder.start("resume", run.id), 0)
        asked = len(server.generation_requests)
    assert COUNT <= asked <= COUNT + 1, "only what was on its way may be asked twice"
    results, _ = folder.results()
    metrics = results["tasks"]["mine"]["metrics"]
    given = sum(range(1, asked + 1))
    lost = given - metrics["score"]["scores"]["score"]["value"]
    assert metrics["different"]["scores"]["different"]["value"] == COUNT
    assert lost == 0 if asked == COUNT else lost in range(1, asked + 1)

    [told] = [json.loads(path.read_text()) for path in folder.path.glob("out/**/eval_factory_metrics.json")]
    assert told["evaluation"]["total_runs"] == 2
    assert COUNT <= told["response_stats"]["count"] <= asked, "live answers of both processes, in two passes"

    folder.path.joinpath("out").rename(folder.path / "first")
    folder.done(folder.start("rerun", run.id, "--replay", "--output-dir", "out"), 0)
    assert folder.results()[0] == results
