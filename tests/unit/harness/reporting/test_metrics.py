from harness.reporting.metrics import Span, metrics


def test_the_reference_names_with_exact_numbers():
    summary = {
        "run": "quiz-1",
        "statistics": {
            "count": 3, "successful_count": 2, "hits": 4, "avg_latency_ms": 200.0, "status_codes": {"200": 2, "500": 1},
            "inference_time": 2.5, "first_request_time": 100.0, "last_request_time": 101.5,
        },
    }  # fmt: skip
    found = metrics(summary, Span(99.0, 105.0, processes=2))
    stats, evaluation = found["response_stats"], found["evaluation"]
    assert (stats["count"], stats["cache_hits"], stats["run_id"]) == (3, 4, "quiz-1")
    assert stats["last_request_time"] == "1970-01-01T00:01:41.500+00:00"
    assert "first_request_time" not in stats
    assert evaluation["runtime_seconds"] == 6.0
    assert evaluation["inference_time_seconds"] == 2.5
    assert evaluation["scoring_time_seconds"] == 3.5
    assert evaluation["total_runs"] == 2
    assert evaluation["start_time"] == "1970-01-01T00:01:39.000+00:00"
    assert 0 < evaluation["peak_memory_bytes"] <= evaluation["peak_tree_memory_bytes"]


def test_a_sidecar_that_said_nothing_leaves_zeros_and_nulls():
    found = metrics({}, Span(1.0, 2.0))
    assert found["response_stats"] == {"cache_hits": 0, "run_id": None, "last_request_time": None}
    assert found["evaluation"]["scoring_time_seconds"] == 1.0
