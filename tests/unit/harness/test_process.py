import os
import signal
import stat
import sys

import pytest

from harness.errors import StartError
from harness.process import ChildProcess, Command, termination_unwinds
from harness.redact import Redactor
from proxy.testing import Reply
from tests.waiting import wait_for

PRINT_AND_WAIT = "import sys,time; print('hello', flush=True); time.sleep(60)"
IGNORE_TERM = (
    "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)


def python(code: str) -> Command:
    return Command("the thing", [sys.executable, "-c", code])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_output_goes_to_a_private_file_and_leaving_ends_the_process(tmp_path):
    log = tmp_path / "folder" / "log"
    with ChildProcess(python(PRINT_AND_WAIT), log) as process:
        wait_for(lambda: log.read_text() == "hello\n")
        pid = process.pid
        assert pid
    assert not is_alive(pid)
    assert process.pid is None
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_what_ignores_sigterm_is_killed(tmp_path):
    with ChildProcess(python(IGNORE_TERM), tmp_path / "log", grace_s=0.2) as process:
        wait_for(lambda: (tmp_path / "log").read_text() == "up\n")
        pid = process.pid
    assert pid
    assert not is_alive(pid)


def test_a_log_that_is_added_to_keeps_what_was_there_and_errors_show_what_is_new(tmp_path):
    log = tmp_path / "log"
    log.write_text("of an earlier process\n")
    with (
        pytest.raises(StartError) as failed,
        ChildProcess(python("print('of this one')"), log, appends=True) as process,
    ):
        process.wait_ready("http://127.0.0.1:9", 30)
    assert log.read_text() == "of an earlier process\nof this one\n"
    assert str(failed.value).endswith("  | of this one")
    assert "earlier" not in str(failed.value)


def test_an_exception_in_the_block_ends_the_process(tmp_path):
    pids: list[int] = []

    def interrupted():
        with ChildProcess(python(PRINT_AND_WAIT), tmp_path / "log") as process:
            assert process.pid
            pids.append(process.pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not is_alive(pids[0])


def test_stop_is_idempotent(tmp_path):
    with ChildProcess(python(PRINT_AND_WAIT), tmp_path / "log") as process:
        pid = process.pid
        assert pid
        process.stop()
        assert not is_alive(pid)
        process.stop()
        assert process.pid is None


def test_wait_ready_returns_when_the_url_answers(tmp_path, server):
    server.enqueue(Reply(503), Reply(200))
    with ChildProcess(python(PRINT_AND_WAIT), tmp_path / "log") as process:
        process.wait_ready(f"{server.url}/health", 5.0)
        assert process.pid
    assert [request.path for request in server.requests] == ["/health", "/health"]


def test_standard_input_is_silent_and_open_while_the_block_is(tmp_path):
    log = tmp_path / "log"
    code = "import sys; print('up', flush=True); print('read', len(sys.stdin.read()), flush=True)"
    with ChildProcess(python(code), log) as process:
        wait_for(lambda: log.read_text() == "up\n")
        assert process.pid
    assert log.read_text() == "up\n"  # the block ended it, not the end of its input


def test_a_secret_in_the_log_is_not_in_the_error(tmp_path):
    command = Command("the thing", [sys.executable, "-c", "print('key sk-secret')"], redactor=Redactor(["sk-secret"]))
    with (
        pytest.raises(StartError, match=r"key \[redacted\]") as caught,
        ChildProcess(command, tmp_path / "log") as process,
    ):
        process.wait_ready("http://127.0.0.1:9/x", 10.0)
    assert "sk-secret" not in str(caught.value)


def test_dying_at_start_shows_the_end_of_the_log(tmp_path, server):
    code = "import sys; [print(i) for i in range(100)]; sys.exit('the port is taken')"
    with (
        pytest.raises(StartError, match="the thing stopped at start with exit code 1") as caught,
        ChildProcess(python(code), tmp_path / "log") as process,
    ):
        process.wait_ready(f"{server.url}/nowhere", 10.0)
    assert "the port is taken" in str(caught.value)
    assert "  | 99" in str(caught.value)
    assert "  | 5\n" not in str(caught.value)
    assert str(tmp_path / "log") in str(caught.value)


def test_never_answering_is_an_error_that_names_the_url(tmp_path, server):
    server.stop()
    with (
        pytest.raises(StartError, match=rf"the thing did not answer at {server.url}/x in 0.3 s"),
        ChildProcess(python(PRINT_AND_WAIT), tmp_path / "log") as process,
    ):
        process.wait_ready(f"{server.url}/x", 0.3)


def test_a_missing_program_is_named(tmp_path):
    with (
        pytest.raises(StartError, match="cannot start the thing \\(/no/such/program\\)"),
        ChildProcess(Command("the thing", ["/no/such/program"]), tmp_path / "log"),
    ):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_unwinds_and_restores(number):
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as caught, termination_unwinds():
        signal.raise_signal(number)
    assert caught.value.code == 128 + number
    assert signal.getsignal(number) is before
