import asyncio
import os
import stat
from functools import partial
from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.external.command import Command
from harness.external.run import LOG_FILE, HarnessFailed, run_driver
from harness.redact import Redactor
from tests.unit.harness.external.asking import make_ask
from tests.waiting import wait_for

WRITES = """sh -c 'echo started; echo "{\\"acc\\": 1}" > $output_dir/results.json; printf last' """


@pytest.fixture
def ask(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()

    def make(command, **options):
        return make_ask(folder, "mine", options={"command": command, **options})

    return make


async def test_its_lines_are_seen_and_logged_and_its_scores_read(ask, tmp_path):
    lines: list[str] = []
    result, _ = await run_driver(Command(), ask(WRITES), tmp_path, on_line=lines.append)
    assert lines == ["started", "last"]
    assert result.tasks["mine"].metrics["acc"].scores["acc"].value == 1.0
    log = tmp_path / LOG_FILE
    assert log.read_text() == "started\nlast"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_a_harness_that_fails_is_an_error_with_the_end_of_its_log(ask, tmp_path):
    with pytest.raises(HarnessFailed, match=r"command ended with exit code 3\n[\s\S]*no luck"):
        await run_driver(Command(), ask("sh -c 'echo no luck; exit 3'"), tmp_path)
    with pytest.raises(HarnessFailed, match=r"\(nothing\)"):
        await run_driver(Command(), ask("false"), tmp_path)


async def test_secrets_stay_out_of_its_log(ask, tmp_path):
    with pytest.raises(HarnessFailed) as error:
        await run_driver(Command(), ask("sh -c 'echo key-123456; exit 1'"), tmp_path, redactor=Redactor(["key-123456"]))
    assert "key-123456" not in str(error.value) + (tmp_path / LOG_FILE).read_text()


async def test_further_arguments_and_variables_are_passed(ask, tmp_path):
    text = """sh -c 'echo "{\\"acc\\": $$1}" > $output_dir/results.json; echo $$MINE' x"""
    lines: list[str] = []
    result, _ = await run_driver(
        Command(), ask(text, args=["7"], env={"MINE": "hello"}), tmp_path, on_line=lines.append
    )
    assert result.tasks["mine"].metrics["acc"].scores["acc"].value == 7.0
    assert lines == ["hello"]


async def test_a_cancelled_run_ends_the_harness_and_its_children(ask, tmp_path):
    pids = tmp_path / "out" / "pids"
    task = asyncio.create_task(
        run_driver(Command(), ask(f"sh -c 'sleep 600 & echo $$! $$$$ > {pids}; wait'"), tmp_path)
    )
    await asyncio.to_thread(wait_for, lambda: pids.exists() and len(pids.read_text().split()) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for pid in map(int, pids.read_text().split()):
        await asyncio.to_thread(wait_for, partial(ended, pid))


def ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie that waits for an init to reap it."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"comand": "x"}, "did you mean 'command'"),
        ({"args": "x"}, "takes a list of strings"),
        ({"env": {"A": 1}}, "takes a map of strings"),
        ({"python": "a", "image": "b"}, "one of them"),
    ],
)
async def test_wrong_options_are_refused_before_anything_runs(ask, tmp_path, options, said):
    with pytest.raises(ConfigurationError, match=said):
        await run_driver(Command(), ask("true", **options), tmp_path)
    assert not (tmp_path / LOG_FILE).exists()
