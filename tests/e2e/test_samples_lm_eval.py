"""Repeats of unmodified lm-eval at temperature > 0: every one is a sample of its own, as without the sidecar."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from harness.demo_lm_eval import find_lm_eval
from proxy.testing import ModelServer
from tests.e2e.draws import QUESTIONS, Draws, Samples, are_distinct, multisets, shared
from tests.killable import Killable
from tests.waiting import wait_for

LM_EVAL = find_lm_eval()
PYTHON = Path(LM_EVAL or "").parent / "python"
"""Of lm-eval's own environment."""
REPEATS = 4
WANTED = REPEATS * len(QUESTIONS)

# The command reads all tasks that it comes with first, which takes ten seconds; there are many runs here.
RUN = """
import json, sys
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

folder, model, output = sys.argv[1:]
manager = TaskManager(include_path=folder, include_defaults=False)
found = simple_evaluate(
    "local-chat-completions", model, tasks=["evalside_sums"], task_manager=manager, apply_chat_template=True
)
with open(output, "w") as file:
    json.dump({"scores": found["results"]["evalside_sums"], "samples": found["samples"]["evalside_sums"]}, file)
"""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(LM_EVAL is None, reason="lm-eval is not installed; `make e2e` installs it"),
]


@dataclass(frozen=True)
class Result:
    """What a run of lm-eval ended with."""

    scores: dict[str, float]
    samples: Samples


class LmEval:
    """Unmodified lm-eval with a task of our own: sums, asked `REPEATS` times, scored by the first and by a vote."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        data = folder / "questions.jsonl"
        rows = ({"question": question, "target": str(right)} for question, right in QUESTIONS.items())
        data.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        number = {"function": "regex", "regex_pattern": r"^(\d+)"}
        first, vote = {"function": "take_first"}, {"function": "majority_vote"}
        task = {
            "task": "evalside_sums",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(data)}},
            "test_split": "test",
            "output_type": "generate_until",
            "doc_to_text": "{{question}}",
            "doc_to_target": "{{target}}",
            "repeats": REPEATS,
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": 24, "temperature": 0.8, "do_sample": True},
            "filter_list": [
                {"name": "first", "filter": [number, first]},
                {"name": "vote", "filter": [number, vote, first]},
            ],
            "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
            "metadata": {"version": 1},
        }
        (folder / "evalside_sums.yaml").write_text(yaml.safe_dump(task, sort_keys=False))

    def start(self, base_url: str, concurrent: int = 1) -> tuple[subprocess.Popen[bytes], Path]:
        """Start a run against `base_url`; returns it with the file that its result goes to."""
        self._count += 1
        output = self._folder / f"output-{self._count}.json"
        model = f"model=m,base_url={base_url}/v1/chat/completions,num_concurrent={concurrent},max_retries=8"
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        with output.with_suffix(".log").open("wb") as log:
            process = subprocess.Popen(
                [str(PYTHON), "-c", RUN, str(self._folder), model, str(output)],
                cwd=self._folder,
                env={**os.environ, **offline, "OPENAI_API_KEY": "unused", "HF_HOME": str(self._folder / "hf")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return process, output

    @staticmethod
    def result(process: subprocess.Popen[bytes], output: Path) -> Result:
        """Wait for a run and return its result."""
        assert process.wait(timeout=300) == 0, output.with_suffix(".log").read_text()[-3000:]
        found = json.loads(output.read_text())
        return Result(
            {name: value for name, value in found["scores"].items() if name.startswith("exact_match")},
            {sample["doc"]["question"]: sample["resps"][0] for sample in found["samples"]},
        )

    def run(self, base_url: str, concurrent: int = 1) -> Result:
        """Run to the end."""
        return self.result(*self.start(base_url, concurrent))


@pytest.fixture(scope="module")
def lm_eval(tmp_path_factory: pytest.TempPathFactory) -> LmEval:
    return LmEval(tmp_path_factory.mktemp("lm-eval"))


def calls(server: ModelServer) -> int:
    return len(server.generation_requests)


def test_repeats_are_samples_and_a_pass_is_replayed(tmp_path, lm_eval):
    with ModelServer(answer=Draws()) as server:
        direct = lm_eval.run(server.url)
    with ModelServer(answer=Draws()) as server, Killable(tmp_path, server.url) as sidecar:
        first = lm_eval.run(f"{sidecar.url}/-/runs/one")
        assert calls(server) == WANTED
        sidecar.new_pass("one")
        again = lm_eval.run(f"{sidecar.url}/-/runs/one")
        assert calls(server) == WANTED
        other = lm_eval.run(f"{sidecar.url}/-/runs/two")
        assert calls(server) == 2 * WANTED
    # The model draws the same for both, and nothing is asked at the same time: what is compared is no distribution
    # that has only to be alike, but every single sample.
    assert first == direct
    assert again == first
    assert are_distinct(first.samples)
    assert sum(map(len, first.samples.values())) == WANTED
    assert 0 < first.scores["exact_match,first"] < 1
    assert are_distinct(other.samples)
    assert shared(first.samples, other.samples) == 0


def test_a_run_whose_sidecar_was_killed_loses_no_sample(tmp_path, lm_eval):
    with ModelServer(answer=Draws(), latency=0.1) as server, Killable(tmp_path, server.url) as sidecar:
        process, output = lm_eval.start(f"{sidecar.url}/-/runs/r", concurrent=4)
        for share in (0.3, 0.6):
            wait_for_calls(server, int(share * WANTED))
            sidecar.kill()
            sidecar.start()
        first = lm_eval.result(process, output)
        _check_replays(server, sidecar, lm_eval, first)


def test_a_run_whose_harness_was_killed_goes_on_where_it_was(tmp_path, lm_eval):
    with ModelServer(answer=Draws(), latency=0.1) as server, Killable(tmp_path, server.url) as sidecar:
        process, _ = lm_eval.start(f"{sidecar.url}/-/runs/r", concurrent=4)
        wait_for_calls(server, WANTED // 2)
        kill(process)
        sidecar.new_pass("r")
        asked = calls(server)
        assert asked < WANTED
        first = lm_eval.run(f"{sidecar.url}/-/runs/r", concurrent=4)
        # What the killed one had was not asked again, but for the answers on their way to it.
        assert calls(server) <= WANTED + 4
        _check_replays(server, sidecar, lm_eval, first)


def test_a_run_whose_harness_and_sidecar_were_killed_goes_on_where_it_was(tmp_path, lm_eval):
    with ModelServer(answer=Draws(), latency=0.1) as server, Killable(tmp_path, server.url) as sidecar:
        process, _ = lm_eval.start(f"{sidecar.url}/-/runs/r", concurrent=4)
        wait_for_calls(server, WANTED // 2)
        sidecar.kill()
        kill(process)
        sidecar.start()
        sidecar.new_pass("r")
        first = lm_eval.run(f"{sidecar.url}/-/runs/r", concurrent=4)
        # An answer is on the disk 0.1 s and a confirmation after its last byte: a second's worth is generous.
        assert calls(server) <= WANTED + 4 * 10
        assert calls(server) < WANTED + WANTED // 2
        _check_replays(server, sidecar, lm_eval, first)


def _check_replays(server: ModelServer, sidecar: Killable, lm_eval: LmEval, first: Result) -> None:
    """What a pass has that went on is whole, and so is the next one, which is replayed for ever."""
    assert sum(map(len, first.samples.values())) == WANTED
    assert are_distinct(first.samples)
    sidecar.new_pass("r")
    second = lm_eval.run(f"{sidecar.url}/-/runs/r", concurrent=4)
    assert sum(map(len, second.samples.values())) == WANTED
    assert are_distinct(second.samples)
    asked = calls(server)
    sidecar.new_pass("r")
    third = lm_eval.run(f"{sidecar.url}/-/runs/r", concurrent=4)
    assert multisets(third.samples) == multisets(second.samples)
    assert calls(server) == asked


def wait_for_calls(server: ModelServer, count: int) -> None:
    """Wait until the model server was asked so often for a generation."""
    wait_for(lambda: calls(server) >= count, 120)


def kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
