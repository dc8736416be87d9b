import pytest

from tests.bench.looks import Look, grown, quantile, slope, verdicts
from tests.bench.usage import Usage

COUNT = 30


def looks(*, memory=None, descriptors=None, p50=None, relay=None):
    """Looks, one a minute; a function of the minute for what is not flat."""
    return [
        Look(
            60.0 * number,
            Usage(0, memory(number) if memory else 100, descriptors(number) if descriptors else 50),
            p50_ms=p50(number) if p50 else 5.0,
            relay_ms=relay(number) if relay else 1.0,
        )
        for number in range(COUNT)
    ]


def test_what_is_flat_is_passed():
    assert verdicts(looks()) == []


def test_memory_may_grow_while_it_warms_up_and_not_after():
    assert verdicts(looks(memory=lambda minute: 100 + 20 * min(minute, 8))) == []
    [line] = verdicts(looks(memory=lambda minute: 100 + 3 * minute))
    assert "memory grew from" in line


def test_a_single_look_turns_no_slope():
    assert verdicts(looks(memory=lambda minute: 500 if minute in {20, COUNT - 1} else 100)) == []


def test_a_step_at_the_end_alone_is_no_slope_and_one_in_the_middle_is_none_that_is_allowed():
    [line] = verdicts(looks(memory=lambda minute: 100 if minute < 20 else 300))
    assert "memory grew from" in line


def test_descriptors_may_not_grow_while_clients_are_there():
    assert verdicts(looks(descriptors=lambda minute: 500 + minute % 7)) == []
    [line] = verdicts(looks(descriptors=lambda minute: 50 + 3 * minute))
    assert "descriptors grew from" in line


def test_descriptors_have_to_be_given_back():
    assert verdicts(looks(), idle=Usage(0, 100, 60)) == []
    [line] = verdicts(looks(), idle=Usage(0, 100, 95))
    assert "there are 95" in line


def test_latency_may_not_drift_beside_the_relay():
    [line] = verdicts(looks(p50=lambda minute: 1.0 + minute**2))
    assert "times as long" in line


def test_a_machine_that_others_use_more_and_more_is_no_drift():
    assert verdicts(looks(p50=lambda minute: 5.0 + 5 * minute, relay=lambda minute: 1.0 + minute)) == []


def test_too_few_looks_say_nothing():
    [line] = verdicts(looks()[:2])
    assert "say nothing" in line
    [line] = verdicts([look._replace(p50_ms=None) for look in looks()])
    assert "new answers" in line


@pytest.mark.parametrize(("share", "value"), [(0.5, 6), (0.9, 10), (0.99, 10), (0.0, 1)])
def test_quantiles(share, value):
    assert quantile([3, 1, 2, 5, 4, 7, 6, 9, 8, 10], share) == value


def test_no_values_have_no_quantile():
    assert quantile([], 0.5) is None


def test_slope_and_growth():
    points = [(0.0, 1.0), (1.0, 2.0), (2.0, 100.0), (3.0, 4.0)]
    assert slope(points) == pytest.approx(1.0, abs=1)
    assert slope([(0.0, 1.0)]) == 0.0
    assert grown(looks(), [float(number) for number in range(COUNT)]) == pytest.approx((0, COUNT - 1))
