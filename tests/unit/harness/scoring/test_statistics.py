import math
import statistics
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scoring.statistics import bootstrap_interval, mcnemar_exact, mean, paired, pass_at_k, stderr

scores = st.lists(st.floats(0, 1), min_size=2, max_size=40)


@given(scores)
def test_mean_and_stderr_are_those_of_the_standard_library(values):
    assert mean(values) == pytest.approx(statistics.fmean(values))
    error = stderr(values)
    assert error is not None
    assert error == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)), abs=1e-12)


def test_too_few_values():
    with pytest.raises(ValueError, match="no mean of no values"):
        mean([])
    assert stderr([1.0]) is None
    assert bootstrap_interval([1.0]) is None


def test_the_interval_is_the_same_every_time_and_about_the_normal_one():
    values = [1.0] * 70 + [0.0] * 30
    low, high = bootstrap_interval(values) or (0, 0)
    assert bootstrap_interval(values) == (low, high)
    assert low == pytest.approx(0.7 - 1.96 * math.sqrt(0.7 * 0.3 / 100), abs=0.02)
    assert high == pytest.approx(0.7 + 1.96 * math.sqrt(0.7 * 0.3 / 100), abs=0.02)
    assert bootstrap_interval(values, seed=1) != (low, high)


def test_a_known_interval_is_pinned():
    assert bootstrap_interval([0.0, 0.0, 1.0, 1.0, 1.0]) == pytest.approx((0.2, 1.0))


@given(scores)
def test_the_interval_is_within_the_values(values):
    low, high = bootstrap_interval(values, resamples=50) or (0, 0)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


@pytest.mark.parametrize("confidence", [0, 1, 1.5])
def test_confidence_is_a_share(confidence):
    with pytest.raises(ValueError, match="is not in"):
        bootstrap_interval([0.0, 1.0], confidence=confidence)


@pytest.mark.parametrize(
    ("n", "correct", "k", "expected"),
    [(1, 1, 1, 1.0), (5, 0, 3, 0.0), (5, 2, 1, 0.4), (5, 1, 5, 1.0), (10, 3, 5, 1 - 21 / 252), (200, 1, 100, 0.5)],
)
def test_pass_at_k_of_known_counts(n, correct, k, expected):
    assert pass_at_k(n, correct, k) == pytest.approx(expected)


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_draws_with_a_right_one(case):
    n, correct, k = case
    draws = list(combinations([True] * correct + [False] * (n - correct), k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize(("n", "correct", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 4), (3, 1, 0)])
def test_pass_at_k_refuses_what_cannot_be(n, correct, k):
    with pytest.raises(ValueError, match=r"cannot be|needs at least"):
        pass_at_k(n, correct, k)


@pytest.mark.parametrize(
    ("gained", "lost", "expected"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (0, 6, 0.03125), (6, 16, 220112 / 2**22), (8, 8, 1.0)],
)
def test_mcnemar_of_known_counts(gained, lost, expected):
    assert mcnemar_exact(gained, lost) == pytest.approx(expected)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_symmetric_and_a_probability(gained, lost):
    assert mcnemar_exact(gained, lost) == mcnemar_exact(lost, gained)
    assert 0 < mcnemar_exact(gained, lost) <= 1


def test_mcnemar_refuses_negative_counts():
    with pytest.raises(ValueError, match="not two counts"):
        mcnemar_exact(-1, 2)


def test_paired_differences():
    found = paired([0, 0, 1, 1, 0], [1, 0, 1, 0, 1])
    assert (found.samples, found.gained, found.lost, found.p_value) == (5, 2, 1, 1.0)
    assert found.difference == pytest.approx(0.2)
    assert found.stderr == pytest.approx(statistics.stdev([1, 0, 0, -1, 1]) / math.sqrt(5))
    assert found.interval is not None
    assert found.stderr is not None
    assert found.interval.high - found.interval.low == pytest.approx(2 * 1.959964 * found.stderr, rel=1e-5)


def test_one_pair_has_no_interval_and_lists_must_be_as_long():
    assert paired([0], [1]).interval is None
    with pytest.raises(ValueError, match="shorter"):
        paired([0, 1], [1])


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=20))
def test_the_other_way_round_is_the_opposite(pairs):
    a, b = zip(*pairs, strict=True)
    one, other = paired(a, b), paired(b, a)
    assert one.difference == pytest.approx(-other.difference)
    assert (one.gained, one.lost) == (other.lost, other.gained)
