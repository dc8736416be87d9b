from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tasks.base import Sample
from harness.tasks.limit import limited
from harness.tasks.smoke import SmokeTask


def samples(**sizes: int) -> list[Sample]:
    return [Sample(f"{group}-{n}", "q", ("a",), group) for group, size in sizes.items() for n in range(size)]


def counts(found: list[Sample]) -> dict[str, int]:
    return dict(Counter(sample.group for sample in found))


@pytest.mark.parametrize(("limit", "count"), [(None, 48), (5, 5), (100, 48), (0.5, 24), (1.0, 48), (0.001, 1)])
def test_limits(limit, count):
    assert len(limited(SmokeTask().samples(), limit)) == count


def test_a_number_is_spread_evenly_and_the_first_groups_get_the_rest():
    assert counts(limited(samples(a=9, b=9, c=9), 7)) == {"a": 3, "b": 2, "c": 2}


def test_what_a_small_group_lacks_others_give():
    assert counts(limited(samples(a=1, b=9, c=4), 12)) == {"a": 1, "b": 7, "c": 4}


def test_a_share_keeps_the_proportions_and_the_total_is_exact():
    assert counts(limited(samples(a=50, b=30, c=20), 0.1)) == {"a": 5, "b": 3, "c": 2}
    assert counts(limited(samples(a=5, b=3, c=3), 0.5)) == {"a": 3, "b": 2, "c": 1}


def test_a_share_is_taken_as_it_is_written():
    assert len(limited(samples(a=30), 0.1)) == 3  # 0.1 * 30 is more than 3 in binary
    assert len(limited(samples(a=100), 0.07)) == 7


def test_the_first_of_each_group_are_kept_in_their_order():
    mixed = [sample for pair in zip(samples(a=3), samples(b=3), strict=True) for sample in pair]
    assert [sample.id for sample in limited(mixed, 4)] == ["a-0", "b-0", "a-1", "b-1"]


sizes = st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 30), min_size=1)


@given(sizes, st.integers(1, 300))
def test_a_number_is_met_and_no_group_is_starved(each, limit):
    found = counts(limited(samples(**each), limit))
    assert sum(found.values()) == min(limit, sum(each.values()))
    fullest = max(found.values())
    assert all(found.get(group, 0) == size or found.get(group, 0) >= fullest - 1 for group, size in each.items())


@given(sizes, st.floats(0.001, 1))
def test_no_group_is_more_than_one_away_from_its_share(each, share):
    found = counts(limited(samples(**each), share))
    assert all(abs(found.get(group, 0) - share * size) < 1 + 1e-9 for group, size in each.items())
