"""Load from wrk: a compiled generator, because a Python client would hide the differences."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.bench import cores
from tests.bench.workloads import Workload

_SCRIPT = """
local counter = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer unused"
request = function()
  counter = counter + 1
  return wrk.format("POST", "/v1/chat/completions", nil, BEFORE .. (CYCLE and counter % CYCLE or counter) .. AFTER)
end
"""
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Load(NamedTuple):
    """What wrk measured."""

    per_second: float
    p50_ms: float
    requests: int


class Void(Exception):
    """The measurement says nothing: answers were errors, or none came."""


def body(workload: Workload, salt: str, number: int | str) -> str:
    """Return a chat request; those with another salt or number are other requests."""
    text = "word " * (workload.prompt // 5)
    stream = '"stream":true,' if workload.stream else ""
    return (
        f'{{"model":"{workload.model}","temperature":0,"max_tokens":16,{stream}'
        f'"messages":[{{"role":"user","content":"{salt}-{number} {text}"}}]}}'
    )


def run(url: str, folder: Path, workload: Workload, *, salt: str, seconds: int) -> Load:
    """Return the rate at which `url` answers the workload's requests.

    Raises:
        Void: answers were not 200, connections broke, nothing came, or wrk did not end.
    """
    script = folder / "load.lua"
    before, after = body(workload, salt, "\0").split("\0")
    cycle = "false" if workload.cycle is None else str(workload.cycle)
    script.write_text(f"BEFORE = [[{before}]]\nAFTER = [[{after}]]\nCYCLE = {cycle}\n{_SCRIPT}")
    command = ["wrk", "-t1", f"-c{workload.connections}", f"-d{seconds}s", "--timeout", "30s", "--latency"]
    with cores.on(cores.OTHERS):
        try:
            out = subprocess.run(
                [*command, "-s", str(script), url], capture_output=True, text=True, check=True, timeout=seconds + 60
            ).stdout
        except subprocess.TimeoutExpired:
            raise Void(f"{workload.name} at {url}: wrk did not end within {seconds + 60} s") from None
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    p50 = re.search(r"50%\s+([\d.]+)(us|ms|s)", out)
    count = re.search(r"(\d+) requests in", out)
    wrong = re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", out)
    if not (rate and p50 and count and float(rate[1]) > 0) or wrong:
        raise Void(f"{workload.name} at {url}: {wrong[0] if wrong else out}")
    return Load(float(rate[1]), float(p50[1]) * _UNITS[p50[2]], int(count[1]))
