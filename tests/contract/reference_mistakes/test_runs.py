"""Mistakes of the reference in the runs of its launcher and in the files that they leave, through real sidecars."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import ApiEndpoint, ConfigParams, EvaluationConfig, EvaluationTarget, evaluate
from harness.errors import EndpointError
from proxy.testing import Reply
from tests.contract.reference_mistakes.clients import CHAT

EVALSIDE = str(Path(sys.executable).parent / "evalside")
FIVE = Reply(
    json={"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "5"}}]}
)
_CONNECTED: list[Any] = []
_LISTENING = [False]


def _heard(event: str, given: tuple[Any, ...]) -> None:
    if _LISTENING[0] and event in {"socket.connect", "socket.getaddrinfo"}:
        _CONNECTED.append(given[1][0] if event == "socket.connect" and isinstance(given[1], tuple) else given[0])


sys.addaudithook(_heard)  # nothing takes a hook away again, so it can be told not to listen


@pytest.fixture
def run(model_server, tmp_path, monkeypatch):
    """Runs the smoke task with five samples, one after the other, in an empty folder, as the run "mine"."""
    monkeypatch.chdir(tmp_path)
    server = model_server()
    server.on(CHAT, FIVE)

    def make(**endpoint: Any) -> Any:
        params = ConfigParams(limit_samples=5, parallelism=1)
        given = ApiEndpoint.model_validate({"url": server.url, "model_id": "m", **endpoint})
        config = EvaluationConfig(type="smoke", output_dir="out", params=params)
        return evaluate(config, EvaluationTarget(api_endpoint=given), run_id="mine")

    make.server = server  # type: ignore[attr-defined]
    return make


def written(name: str) -> Any:
    return json.loads(Path("out", name).read_text())


def test_a_report_is_whole_whatever_the_cache_folder(run, tmp_path):
    caching = {"name": "caching", "config": {"cache_dir": str(tmp_path / "elsewhere")}}
    run(adapter_config={"interceptors": [caching]})
    assert list((tmp_path / "elsewhere").iterdir())
    page = Path("out/report.html").read_text()
    rows = [json.loads(line) for line in Path("out/samples.jsonl").read_text().splitlines()]
    assert len(rows) == 5
    assert all(row["query"] in page for row in rows)


def test_a_run_that_goes_on_counts_nothing_twice(run):
    run.server.enqueue(FIVE, FIVE, Reply(status=401, json={"error": {"message": "no"}}))
    with pytest.raises(EndpointError):
        run()
    run()
    first = written("eval_factory_metrics.json")["response_stats"]
    assert (first["count"], first["successful_count"]) == (len(run.server.generation_requests), 5) == (6, 5)
    run()
    again = written("eval_factory_metrics.json")["response_stats"]
    assert (again["count"], again["cache_hits"], again["inference_time"]) == (0, 5, 0.0)  # nobody was asked


def test_a_run_talks_to_nobody_but_the_endpoint(run):
    _LISTENING[0] = True
    try:
        run()
    finally:
        _LISTENING[0] = False
    assert _CONNECTED
    assert {str(host) for host in _CONNECTED} <= {"127.0.0.1", "localhost", "::1"}


def test_a_dry_run_needs_no_key(tmp_path):
    words = [
        "run",
        "-n",
        "-t",
        "smoke",
        "-o",
        "target.api_endpoint.api_key_name=null",
        "--url",
        "http://127.0.0.1:9/v1",
    ]
    done = subprocess.run([EVALSIDE, *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# Nothing was started, asked or written." in done.stdout
    assert list(tmp_path.iterdir()) == []
