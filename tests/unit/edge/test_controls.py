import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import InvalidHeader, InvalidRun
from proxy.edge.controls import CACHE_MODES, Controls, check_run, read_controls, speaks_to_us, without_controls


@pytest.mark.parametrize("name", ["a", "0", "A.b_c-d", "x" * 128])
def test_run_names(name):
    assert check_run(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "-a", "_a", "a/b", "a b", "é", "x" * 129, "a\n"])
def test_names_that_are_no_runs(name):
    with pytest.raises(InvalidRun):
        check_run(name)


@pytest.mark.parametrize("mode", CACHE_MODES)
def test_cache_modes(mode):
    assert read_controls([(b"x-evalside-cache", mode.encode())], None) == Controls(None, mode, None)


def test_run_of_url_and_header():
    assert read_controls([(b"accept", b"*/*")], "a").run == "a"
    assert read_controls([(b"x-evalside-run", b" a "), (b"x-evalside-token", b"t")], "a").run == "a"
    with pytest.raises(InvalidRun, match="agree"):
        read_controls([(b"x-evalside-run", b"b")], "a")


def test_unknown_controls_are_errors():
    with pytest.raises(InvalidHeader, match="x-evalside-cahce"):
        read_controls([(b"x-evalside-cahce", b"on")], None)
    with pytest.raises(InvalidHeader, match="sometimes"):
        read_controls([(b"x-evalside-cache", b"sometimes")], None)


def test_controls_are_not_sent_on():
    assert without_controls([(b"x-evalside-run", b"a"), (b"x-other", b"b")]) == [(b"x-other", b"b")]


def test_every_mode_there_is():
    assert set(CACHE_MODES) == {"on", "off", "read", "write", "refresh", "replay", "verify"}


@pytest.mark.parametrize(("value", "index"), [(b"0", 0), (b" 7 ", 7), (b"007", 7), (b"2147483647", 2147483647)])
def test_a_sample_is_an_index_from_0(value, index):
    assert read_controls([(b"x-evalside-sample", value)], "r") == Controls("r", None, index)


@pytest.mark.parametrize("value", ["", "-1", "+1", "1.0", "first", "2147483648", "9" * 5000, "\xb2", "1,2"])
def test_what_is_no_index(value):
    with pytest.raises(InvalidHeader, match="numbered 0, 1, 2"):
        read_controls([(b"x-evalside-sample", value.encode("latin-1"))], "r")


@pytest.mark.parametrize(
    ("name", "meant"),
    [(b"x-evalside-sampel", "x-evalside-sample"), (b"x-evalside-cach", "x-evalside-cache"), (b"x-evalside-zzz", None)],
)
def test_an_unknown_control_names_the_nearest_one(name, meant):
    with pytest.raises(InvalidHeader) as raised:
        read_controls([(name, b"1")], None)
    assert (f"did you mean '{meant}'?" in raised.value.message) is (meant is not None)


def test_a_control_may_be_repeated_but_not_contradicted():
    assert read_controls([(b"x-evalside-sample", b"1"), (b"x-evalside-sample", b"1 ")], "r").sample == 1
    with pytest.raises(InvalidHeader, match="x-evalside-sample is given twice"):
        read_controls([(b"x-evalside-sample", b"1"), (b"x-evalside-sample", b"2")], "r")


@given(st.lists(st.sampled_from([b"accept", b"x-evalside-run", b"x-evalsid", b"x-evalside-", b"authorization"])))
def test_only_requests_with_such_a_header_are_looked_through(names):
    headers = [(name, b"a") for name in names]
    assert speaks_to_us(tuple(names)) == (without_controls(headers) != headers)
