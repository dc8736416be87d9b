"""Load from wrk: a compiled generator, because a Python client would hide the differences."""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

_TEXT = "word " * 180
_BODY = '{"model":"mock-model","temperature":0,"max_tokens":16,"messages":[{"role":"user","content":"TAG TEXT"}]}'
_SCRIPT = """
local counter = 0
local thread_number = 0
function setup(thread) thread:set("id", thread_number); thread_number = thread_number + 1 end
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
  counter = counter + 1
  local tag = SALT
  if CYCLE then tag = tag .. "-" .. (counter % CYCLE) else tag = tag .. "-" .. id .. "-" .. counter end
  return wrk.format("POST", PATH, nil, BEFORE .. tag .. AFTER)
end
"""


class Asking(NamedTuple):
    """What is asked: `cycle` requests over and over, None for one that was never asked after the other."""

    salt: str
    """Keeps requests apart from those of another measurement."""
    cycle: int | None = None


class Load(NamedTuple):
    """What wrk measured."""

    per_second: float
    p50_ms: float
    errors: int


def body(tag: str) -> str:
    """Return a chat request of about 1 kB; those with another tag are other requests."""
    return _BODY.replace("TAG", tag).replace("TEXT", _TEXT)


def run(url: str, folder: Path, asking: Asking, *, seconds: int, connections: int) -> Load:
    """Return the rate of chat requests of about 1 kB at `url`."""
    script = folder / "load.lua"
    before, after = body("\0").split("\0")
    settings = {
        "BEFORE": f"[[{before}]]",
        "AFTER": f"[[{after}]]",
        "SALT": f'"{asking.salt}"',
        "PATH": '"/v1/chat/completions"',
        "CYCLE": "nil" if asking.cycle is None else str(asking.cycle),
    }
    script.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()) + _SCRIPT)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    p50 = re.search(r"50%\s+([\d.]+)(us|ms|s)", out)
    assert rate, out
    assert p50, out
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}[p50[2]]
    return Load(float(rate[1]), float(p50[1]) * scale, int(failed[1]) if failed else 0)
