from tests.bench.gates import GATES, Gate, judged
from tests.bench.workloads import NAMES

RATE = Gate("load", "per_second", "a", "b", least=0.5)
TIME = Gate("load", "p50_ms", "a", "b", most=2)


def verdicts(found, gates, cores=8):
    return [(item.gate, item.passed) for item in judged(found, cores=cores, gates=gates)]


def test_the_median_of_the_rounds_decides():
    found = {"load": {"per_second": {"a": [10, 60, 70], "b": [100, 100, 100]}}}
    assert verdicts(found, [RATE]) == [(RATE, True)]
    found["load"]["per_second"]["a"][1] = 40
    assert verdicts(found, [RATE]) == [(RATE, False)]


def test_a_time_may_not_be_too_long():
    assert verdicts({"load": {"p50_ms": {"a": [4.0], "b": [2.0]}}}, [TIME]) == [(TIME, True)]
    assert verdicts({"load": {"p50_ms": {"a": [4.1], "b": [2.0]}}}, [TIME]) == [(TIME, False)]


def test_what_was_not_measured_is_not_judged():
    assert verdicts({"load": {"per_second": {"a": [1]}}}, [RATE, TIME]) == []


def test_workers_are_judged_where_there_are_cores_for_them():
    [gate] = [gate for gate in GATES if gate.workload == "two workers"]
    found = {"two workers": {"per_second": {gate.of: [1], gate.to: [1]}}}
    assert verdicts(found, [gate], cores=2) == []
    assert verdicts(found, [gate], cores=4) == [(gate, False)]


def test_every_gate_is_of_a_workload_that_is_measured():
    assert {gate.workload for gate in GATES} <= set(NAMES)
