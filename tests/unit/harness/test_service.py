from contextlib import ExitStack

import pytest

from harness.service import Service


class Recorded(Service):
    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.fails = fails
        self.events: list[str] = []

    def _start(self, stack: ExitStack) -> str:
        self.events.append("started")
        stack.callback(self.events.append, "stopped")
        if self.fails:
            raise OSError("no port is free")
        return "http://127.0.0.1:1"


def test_it_runs_while_the_block_is_open():
    service = Recorded()
    assert service.url == ""
    with service as entered:
        assert entered is service
        assert service.url == "http://127.0.0.1:1"
        assert service.events == ["started"]
    assert service.events == ["started", "stopped"]


def test_a_start_that_fails_halfway_is_undone():
    service = Recorded(fails=True)
    with pytest.raises(OSError, match="no port is free"), service:
        pass
    assert service.events == ["started", "stopped"]
    assert service.url == ""


def test_an_error_in_the_block_stops_it_and_is_raised():
    service = Recorded()
    with pytest.raises(KeyError), service:
        raise KeyError
    assert service.events == ["started", "stopped"]
