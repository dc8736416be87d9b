"""Load from wrk: a compiled generator, because a Python client would hide the differences."""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

_SCRIPT = """
local counter = 0
local thread_number = 0
function setup(thread) thread:set("id", thread_number); thread_number = thread_number + 1 end
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local text = string.rep("word ", 180)
request = function()
  local tag = "same"
  if UNIQUE then counter = counter + 1; tag = SALT .. "-" .. id .. "-" .. counter end
  local body = '{"model":"mock-model","temperature":0,"max_tokens":16,"messages":[{"role":"user","content":"' ..
    tag .. " " .. text .. '"}]}'
  return wrk.format("POST", PATH, nil, body)
end
"""


class Load(NamedTuple):
    """What wrk measured."""

    per_second: float
    p50_ms: float
    errors: int


def run(url: str, folder: Path, *, unique: bool, salt: str, seconds: int, connections: int) -> Load:
    """Return the rate of chat requests of about 1 kB at `url`; `salt` keeps unique ones unique across rounds."""
    script = folder / "load.lua"
    settings = f'UNIQUE = {str(unique).lower()}\nSALT = "{salt}"\nPATH = "/v1/chat/completions"\n'
    script.write_text(settings + _SCRIPT)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    p50 = re.search(r"50%\s+([\d.]+)(us|ms|s)", out)
    assert rate, out
    assert p50, out
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}[p50[2]]
    return Load(float(rate[1]), float(p50[1]) * scale, int(failed[1]) if failed else 0)
