import pytest

from proxy.core.errors import InvalidHeader, InvalidRun
from proxy.edge.controls import CACHE_MODES, check_run, read_controls, without_controls


@pytest.mark.parametrize("name", ["a", "0", "A.b_c-d", "x" * 128])
def test_run_names(name):
    assert check_run(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "-a", "_a", "a/b", "a b", "é", "x" * 129, "a\n"])
def test_names_that_are_no_runs(name):
    with pytest.raises(InvalidRun):
        check_run(name)


@pytest.mark.parametrize("mode", CACHE_MODES)
def test_cache_modes(mode):
    assert read_controls([(b"x-evalside-cache", mode.encode())], None) == (None, mode)


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
