import pytest

from proxy.core.errors import NotCarried
from proxy.wire.bridges.losses import Losses, says_something


def test_all_that_is_refused_is_in_one_error_with_the_way_out():
    losses = Losses("a_bridge", "ask elsewhere")
    losses.refuse("tools[0]", "it is hosted")
    losses.refuse("background")
    losses.refuse("background")
    with pytest.raises(NotCarried) as caught:
        losses.converted({})
    assert caught.value.message == (
        "interceptor 'a_bridge' cannot carry over tools[0] (it is hosted), background; ask elsewhere"
    )
    assert (caught.value.status, caught.value.code) == (400, "not_carried")


def test_what_is_left_out_is_told_once_and_what_says_nothing_is_no_loss():
    losses = Losses("a_bridge", "")
    for value in ({"a": 1}, {"b": 2}):
        losses.leave("metadata", value)
    losses.leave("store", False)
    assert losses.converted({"a": 1}) == ({"a": 1}, ["metadata"])


def test_strict_leaves_nothing_out():
    losses = Losses("a_bridge", "", strict=True)
    losses.leave("store", True)
    with pytest.raises(NotCarried, match=r"would leave out store, and strict is set.*'strict: false'.*'a_bridge'"):
        losses.converted({})


@pytest.mark.parametrize(
    ("value", "says"), [(None, 0), (False, 0), ("", 0), ([], 0), ({}, 0), (0, 1), (True, 1), ("a", 1)]
)
def test_null_false_and_what_is_empty_say_nothing(value, says):
    assert says_something(value) == bool(says)
