from harness.processes import Process
from harness.reporting.metrics import metrics


def test_the_reference_names_with_exact_numbers():
    summary = {
        "run": "quiz-1",
        "statistics": {
            "count": 3, "successful_count": 2, "hits": 4, "avg_latency_ms": 200.0, "status_codes": {"200": 2, "500": 1},
            "inference_time": 1000.5, "first_request_time": 100.0, "last_request_time": 1099.5,
        },
    }  # fmt: skip
    killed = Process("quiz-1", 99.0, 102.5, 99.5, 102.0, peak_memory_bytes=7, peak_tree_memory_bytes=8)
    resumed = Process("quiz-1", 1096.0, 1102.0, 1098.0, 1101.0, peak_memory_bytes=5, peak_tree_memory_bytes=9)
    found = metrics(summary, [killed, resumed])
    stats, evaluation = found["response_stats"], found["evaluation"]
    assert (stats["count"], stats["cache_hits"], stats["run_id"]) == (3, 4, "quiz-1")
    assert stats["last_request_time"] == "1970-01-01T00:18:19.500+00:00"
    assert "first_request_time" not in stats
    assert evaluation == {
        "runtime_seconds": 9.5,
        "start_time": "1970-01-01T00:01:39.000+00:00",
        "end_time": "1970-01-01T00:18:22.000+00:00",
        "total_runs": 2,
        "inference_time_seconds": 4.5,
        "scoring_time_seconds": 5.0,
        "peak_memory_bytes": 7,
        "peak_tree_memory_bytes": 9,
    }
    assert stats["inference_time"] == 4.5


def test_a_sidecar_that_said_nothing_leaves_zeros_and_nulls():
    found = metrics({}, [Process("r", 1.0, 2.0)])
    assert found["response_stats"] == {
        "cache_hits": 0, "run_id": None, "inference_time": 0.0, "last_request_time": None,
    }  # fmt: skip
    assert found["evaluation"]["scoring_time_seconds"] == 1.0
