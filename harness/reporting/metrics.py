"""`eval_factory_metrics.json`: what the run took, under the reference system's names.

The names are those of NeMo Evaluator's response_stats and evaluation blocks (its eval_factory_metrics.json), the
numbers are exact: sums are kept, never averages of averages, and a resumed run counts every answer once.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from harness.processes import Process

METRICS_FILE = "eval_factory_metrics.json"
_OTHERWISE = frozenset({"hits", "first_request_time", "inference_time"})
"""Statistics that are told in another form."""


def metrics(summary: Mapping[str, Any], processes: Sequence[Process]) -> dict[str, Any]:
    """The document. `summary` is what the sidecar says of the run, empty where it says nothing.

    `response_stats` are of live answers, as in the reference; `cache_hits` says how many were none. Times are those of
    all `processes` together: that between them, when nobody worked on the task, is not in them.
    """
    statistics = dict(summary.get("statistics") or {})
    inference = round(_inference(statistics, processes), 3)
    runtime = sum(process.seconds for process in processes)
    last = statistics.get("last_request_time")
    return {
        "response_stats": {
            **{name: value for name, value in statistics.items() if name not in _OTHERWISE},
            "cache_hits": statistics.get("hits", 0),
            "run_id": summary.get("run"),
            "inference_time": inference,
            "last_request_time": None if last is None else _iso(float(last)),
        },
        "evaluation": {
            "runtime_seconds": round(runtime, 3),
            "start_time": _iso(processes[0].started),
            "end_time": _iso(processes[-1].seen),
            "total_runs": len(processes),
            "inference_time_seconds": inference,
            "scoring_time_seconds": round(max(runtime - inference, 0.0), 3),
            "peak_memory_bytes": max(process.peak_memory_bytes for process in processes),
            "peak_tree_memory_bytes": max(process.peak_tree_memory_bytes for process in processes),
        },
    }


def _inference(statistics: Mapping[str, Any], processes: Sequence[Process]) -> float:
    """Seconds between first request and last answer, of each process: the sidecar does not know when none was there."""
    first = statistics.get("first_request_time")
    if first is None:
        return 0.0
    last = float(first) + float(statistics.get("inference_time") or 0.0)
    return sum(process.asking(float(first), last) for process in processes)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
