"""`eval_factory_metrics.json`: what the run took, under the reference system's names.

The names are those of NeMo Evaluator's response_stats and evaluation blocks (its eval_factory_metrics.json), the
numbers are exact: sums are kept, never averages of averages, and a resumed run counts every answer once.
"""

import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

METRICS_FILE = "eval_factory_metrics.json"
_KIB = 1 if sys.platform == "darwin" else 1024
"""Bytes in the unit of ru_maxrss (getrusage(2))."""


@dataclass(frozen=True, slots=True)
class Span:
    """When the task began and ended, in seconds since the epoch. `processes` counts those that worked on it."""

    started: float
    ended: float
    processes: int = 1


def metrics(summary: Mapping[str, Any], span: Span) -> dict[str, Any]:
    """The document. `summary` is what the sidecar says of the run, empty where it says nothing.

    `response_stats` are of live answers, as in the reference; `cache_hits` says how many were none.
    `peak_tree_memory_bytes` is this process and the largest of its children, the sidecar among them.
    """
    statistics = dict(summary.get("statistics") or {})
    inference = float(statistics.get("inference_time") or 0.0)
    runtime = span.ended - span.started
    last = statistics.get("last_request_time")
    return {
        "response_stats": {
            **{name: value for name, value in statistics.items() if name not in {"hits", "first_request_time"}},
            "cache_hits": statistics.get("hits", 0),
            "run_id": summary.get("run"),
            "last_request_time": None if last is None else _iso(float(last)),
        },
        "evaluation": {
            "runtime_seconds": round(runtime, 3),
            "start_time": _iso(span.started),
            "end_time": _iso(span.ended),
            "total_runs": span.processes,
            "inference_time_seconds": round(inference, 3),
            "scoring_time_seconds": round(max(runtime - inference, 0.0), 3),
            **_memory(),
        },
    }


def _memory() -> dict[str, int]:
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _KIB
    return {"peak_memory_bytes": own, "peak_tree_memory_bytes": own + children}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
