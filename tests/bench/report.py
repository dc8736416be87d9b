"""What was measured, as tables and as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench import gates, servers, store

_METRICS = {
    "per_second": "per second",
    "p50_ms": "p50 ms",
    "first_chunk_ms": "first chunk ms",
    "chunk_ms": "a chunk, ms",
    "cpu_us": "CPU µs",
}
_LEADING = ("first_chunk_ms", "per_second")
"""What servers are compared by."""


def conditions() -> dict[str, Any]:
    """Return what was measured where, and on how busy a machine."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "commit": commit.stdout.strip() or None,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
    }


def show(found: dict[str, Any]) -> None:
    """Print everything as tables."""
    console = Console(width=170)
    told = found["conditions"]
    busy = ", ".join(f"{before:.1f}" for before in told["load_average"])
    console.print(f"commit {told['commit']}, Python {told['python']}, {told['cores']} cores, load average {busy}")
    if found["workloads"]:
        console.print(_measured(found["workloads"]))
    if found["usage"]:
        console.print(_usage(found["usage"]))
    if found["clients"]:
        console.print(_clients(found["clients"]))
    if found["store"] and min(map(len, found["store"].values())):
        console.print(_store(found["store"]))
    if found["gates"]:
        console.print(_gates(found["gates"]))
    for line in found["void"]:
        console.print(f"Not measured: {line}")


def write(found: dict[str, Any], path: Path) -> None:
    """Write every single value to a file."""
    judged = [
        {**item.gate._asdict(), "ratios": item.ratios, "ratio": item.ratio, "passed": item.passed}
        for item in found["gates"]
    ]
    used = {
        name: {"before": before._asdict(), "after": after._asdict()} for name, (before, after) in found["usage"].items()
    }
    path.write_text(json.dumps({**found, "gates": judged, "usage": used}, indent=2) + "\n")


def _measured(workloads: dict[str, Any]) -> Table:
    """A row for each server: medians, and how its leading metric compares, with the spread of the rounds."""
    table = Table(
        "workload", "server", *_METRICS.values(), "times nginx", "times the relay", title="Medians; ratios by round"
    )
    for workload, metrics in workloads.items():
        leading = next(metric for metric in _LEADING if metric in metrics)
        for name, values in metrics[leading].items():
            if name == gates.IDEAL:
                continue
            medians = [f"{median(metrics[metric][name]):.4g}" if metric in metrics else "" for metric in _METRICS]
            beside = [_ratio(values, metrics[leading].get(other)) for other in (servers.NGINX, servers.RELAY)]
            table.add_row(workload, name, *medians, *beside)
        table.add_section()
    return table


def _ratio(values: list[float], others: list[float] | None) -> str:
    if not others or len(others) != len(values):
        return ""
    ratios = [ours / theirs for ours, theirs in zip(values, others, strict=True)]
    return f"{median(ratios):.3g} ({min(ratios):.3g} to {max(ratios):.3g})"


def _usage(usage: dict[str, Any]) -> Table:
    table = Table("server", "MB at start", "MB at the end", "descriptors at start", "at the end", title="Memory")
    for name, (before, after) in usage.items():
        table.add_row(name, f"{before[1]:.0f}", f"{after[1]:.0f}", str(before[2]), str(after[2]))
    return table


def _clients(costs: dict[str, dict[str, list[float]]]) -> Table:
    names = list(next(iter(costs.values())))
    table = Table("concurrent requests", *names, title="The upstream client alone, CPU µs a request")
    for concurrency, times in costs.items():
        table.add_row(concurrency, *(f"{median(times[name]):.0f}" for name in names))
    return table


def _store(hits: dict[str, list[float]]) -> str:
    ratios = [full / empty for full, empty in zip(hits[store.FULL], hits[store.EMPTY], strict=True)]
    return (
        f"Hits from a store of {store.FULL} are {median(ratios):.3f} times as fast as from an {store.EMPTY}"
        f" ({min(ratios):.3f} to {max(ratios):.3f} in {len(ratios)} rounds)."
    )


def _gates(results: list[gates.Judged]) -> Table:
    table = Table("workload", "what", "of", "to", "gate", "ratio", "rounds", "", title="Gates")
    for item in results:
        gate = item.gate
        bound = f">= {gate.least}" if gate.least is not None else f"<= {gate.most}"
        spread = f"{min(item.ratios):.3g} to {max(item.ratios):.3g}"
        verdict = "passed" if item.passed else "FAILED"
        table.add_row(
            gate.workload, _METRICS[gate.metric], gate.of, gate.to, bound, f"{item.ratio:.3g}", spread, verdict
        )
    return table
