"""Other proxies for language models, each in an environment of its own and as lean as its documents let it be."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tests.bench import workloads
from tests.bench.servers import Server, free_port, started
from tests.bench.workloads import Workload

LITELLM = "LiteLLM"
LITELLM_CACHE = "LiteLLM, caching"
NEMO = "nemo-evaluator, forwarding only"
NEMO_CACHE = "nemo-evaluator, caching"

_MEASURED = {
    LITELLM: {workloads.UNIQUE.name, workloads.BURST.name},
    LITELLM_CACHE: {workloads.HITS.name},
    NEMO: {workloads.UNIQUE.name},
    NEMO_CACHE: {workloads.UNIQUE.name, workloads.HITS.name},
}
"""What each is measured with: what a gate compares it by. nemo-evaluator holds a stream back until it is whole."""
_FEW, _LONG = 4, 6
"""Connections and seconds for LiteLLM's streams: of 32 at a time it would end none in a round; its rate is the same."""

ROOT = Path(__file__).parents[2]
_PYTHONS = ("python3.12", "python3.13")


class Peer(NamedTuple):
    """A program to compare with."""

    name: str
    oldest: tuple[int, int] = (3, 11)
    """Python that it needs."""

    @property
    def environment(self) -> Path:
        """Where it is installed."""
        return ROOT / f".venv-peers-{self.name}"

    @property
    def requirements(self) -> Path:
        """What is installed there, pinned and hashed."""
        return ROOT / "requirements" / f"peers-{self.name}.txt"


_LITELLM = Peer("litellm")
_NEMO = Peer("nemo", oldest=(3, 12))
PEERS = (_LITELLM, _NEMO)


class Missing(Exception):
    """A peer that cannot be had here, and why."""


def takes_part(server: str, workload: str) -> bool:
    """Return whether a server, peer or not, is measured with a workload."""
    return server not in _MEASURED or workload in _MEASURED[server]


def fitted(server: str, workload: Workload) -> Workload:
    """Return the workload as this server can bear it."""
    if server == LITELLM and workload.name == workloads.BURST.name:
        return replace(workload, connections=_FEW, least_seconds=_LONG)
    return workload


def install(peer: Peer, pythons: Sequence[str] = ()) -> Path:
    """Return the Python of the peer's environment, which is made anew where its requirements have changed.

    Raises:
        Missing: there is no Python for it, or it cannot be installed.
    """
    python = peer.environment / "bin" / "python"
    stamp = peer.environment / ".installed"
    wanted = hashlib.sha256(peer.requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    base = _python(peer, (*pythons, sys.executable, *_PYTHONS))
    shutil.rmtree(peer.environment, ignore_errors=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    for command in (
        [base, "-m", "venv", str(peer.environment)],
        [*pip, "--require-hashes", "--no-deps", "-r", str(peer.requirements)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing(f"{peer.name} cannot be installed into {peer.environment.name}: {done.stderr[-1000:]}")
    stamp.write_text(wanted)
    return python


def _python(peer: Peer, candidates: Sequence[str]) -> str:
    test = f"import sys; sys.exit(not {peer.oldest} <= sys.version_info[:2] <= (3, 13))"
    for candidate in candidates:
        found = shutil.which(candidate)
        if found and subprocess.run([found, "-c", test], capture_output=True, check=False).returncode == 0:
            return found
    version = ".".join(map(str, peer.oldest))
    raise Missing(f"{peer.name} needs Python {version} or 3.13; name one with --peers-python /path/to/python{version}")


def names(pythons: Collection[str]) -> list[str]:
    """Return what the servers of these peers are called."""
    found = [LITELLM, LITELLM_CACHE] if _LITELLM.name in pythons else []
    return found + ([NEMO, NEMO_CACHE] if _NEMO.name in pythons else [])


@contextmanager
def serving(pythons: dict[str, Path], upstream: str, folder: Path) -> Iterator[list[Server]]:
    """Start what is installed: each with and without its cache. `pythons` are those of the environments, by peer."""
    with ExitStack() as stack:
        found = []
        if _LITELLM.name in pythons:
            for name, cached in ((LITELLM, False), (LITELLM_CACHE, True)):
                found.append(stack.enter_context(_litellm(name, pythons[_LITELLM.name], upstream, folder, cached)))
        if _NEMO.name in pythons:
            for name, cached in ((NEMO, False), (NEMO_CACHE, True)):
                found.append(stack.enter_context(_nemo(name, pythons[_NEMO.name], upstream, folder, cached)))
        yield found


@contextmanager
def _litellm(name: str, python: Path, upstream: str, folder: Path, cached: bool) -> Iterator[Server]:
    """One worker, no database, no keys, no callbacks; errors alone are logged. It starts in some 15 seconds."""
    config = folder / f"litellm-{cached}.yaml"
    models = "".join(
        f"  - model_name: {model}\n"
        f"    litellm_params: {{model: openai/{model}, api_base: {upstream}/v1, api_key: unused}}\n"
        for model in ("plain", "burst")
    )
    caching = "  cache: true\n  cache_params: {type: local}\n" if cached else ""
    config.write_text(f"model_list:\n{models}litellm_settings:\n  set_verbose: false\n  telemetry: false\n{caching}")
    port = free_port()
    command = [str(python.parent / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    quiet = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it is fetched
        "LITELLM_LOG": "ERROR",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # on loopback, in front of a mock
        "NO_PROXY": "127.0.0.1",
    }
    log = folder / f"litellm-{cached}.log"
    with started(name, [*command, "--num_workers", "1"], port, log, env=quiet, patience=120) as server:
        yield server


@contextmanager
def _nemo(name: str, python: Path, upstream: str, folder: Path, cached: bool) -> Iterator[Server]:
    port = free_port()
    command = [str(python), str(Path(__file__).with_name("peer_nemo.py")), upstream, str(port)]
    cache = [str(folder / "nemo-cache")] if cached else []
    log = folder / f"nemo-{cached}.log"
    with started(name, [*command, *cache], port, log, env={"NO_PROXY": "127.0.0.1"}, patience=60) as server:
        yield server
