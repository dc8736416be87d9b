import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.api import EvaluationResult
from harness.demo import Pass, broken_promises, side_by_side
from harness.job import Finished
from harness.records import Tally
from harness.results import task_result
from tests.unit.harness.test_results import RECORD


@pytest.fixture
def make_pass():
    def make(*, hits=0, calls=2, tokens=10.0, errors=0, record=RECORD):
        records = [record, replace(record, id="b")]
        tally = Tally(total=2, done=2, hits=hits, errors=errors, upstream_calls=calls, seconds=1.0)
        result = EvaluationResult(tasks={"smoke": task_result(records, "accuracy")})
        finished = Finished(result, records, tally, Path("results.yml"), Path("samples.jsonl"))
        return Pass(finished, {"prompt_tokens_total": tokens, "tokens_predicted_total": tokens})

    return make


def test_a_second_pass_of_hits_keeps_all_promises(make_pass):
    assert broken_promises(make_pass(), make_pass(hits=2, calls=0, tokens=0.0)) == []


@pytest.mark.parametrize(
    ("first", "second", "failure"),
    [
        ({"hits": 1}, {}, "the first pass had 1 cache hits in a new store"),
        ({"tokens": 0.0}, {}, "llama.cpp generated nothing in the first pass"),
        ({"errors": 1}, {}, "1 and 0 samples got no answer"),
        ({}, {"hits": 1}, "only 1 of 2 answers of the second pass were cache hits"),
        ({}, {"calls": 1}, "the second pass made 1 upstream calls"),
        ({}, {"tokens": 5.0}, "llama.cpp's own counters moved in the second pass"),
        ({}, {"record": replace(RECORD, score=0.0)}, "the scores of the two passes differ"),
        ({}, {"record": replace(RECORD, generation="five")}, "the generations of the two passes differ"),
    ],
)
def test_each_broken_promise_is_named(make_pass, first, second, failure):
    kept = {"hits": 2, "calls": 0, "tokens": 0.0}
    [found] = broken_promises(make_pass(**first), make_pass(**kept | second))
    assert found.startswith(failure)


def test_both_passes_are_side_by_side(make_pass):
    written = io.StringIO()
    console = Console(file=written, width=120)
    console.print(side_by_side(make_pass(tokens=123.0), make_pass(hits=2, calls=0, tokens=0.0)))
    output = written.getvalue()
    for part in ("first pass", "second pass", "1.000 ± 0.000", "+123", "+0", "not a benchmark"):
        assert part in output
