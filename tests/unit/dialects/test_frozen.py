import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.frozen import Frozen, read_frozen

NAMES = st.sets(st.sampled_from("abcdef"))
EMPTY = Frozen(identity="i", dialect="vllm")


def test_it_is_written_and_read():
    profile = Frozen(
        identity="i", dialect="vllm", context_length=8, verdicts={"chat.n": "ignored"},
        accepted={"chat": ["a"]}, dropped={"chat": ["b"]},
    )  # fmt: skip

    assert read_frozen(profile.text()) == profile


@pytest.mark.parametrize("text", ["", "{}", '{"format": 2, "identity": "", "dialect": ""}', "[]"])
def test_what_is_none_is_not_read(text):
    assert read_frozen(text) is None


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["chat", "completions"]), NAMES), max_size=12))
def test_what_is_settled_stays_so(steps):
    """The first word on a parameter of a route holds: so history never changes a key."""
    profile = EMPTY
    settled: dict[tuple[str, str], bool] = {}
    for accepted, route, names in steps:
        profile = profile.accept(route, names) if accepted else profile.drop(route, names)
        for name in names:
            settled.setdefault((route, name), accepted)
        for (on, name), was_accepted in settled.items():
            assert (name in profile.accepted.get(on, ())) is was_accepted
            assert (name in profile.dropped.get(on, ())) is not was_accepted
            assert name in profile.settled(on)


def test_nothing_new_changes_nothing():
    profile = EMPTY.drop("chat", ["b", "a"])

    assert profile.dropped == {"chat": ["a", "b"]}
    assert profile.accept("chat", ["a"]) == profile
    assert profile.drop("completions", []) == profile


def test_there_is_an_end_to_what_is_settled():
    full = EMPTY.accept("chat", [f"name{number}" for number in range(1000)])

    assert len(full.accepted["chat"]) == 500
    assert full.drop("chat", ["one more"]) == full
