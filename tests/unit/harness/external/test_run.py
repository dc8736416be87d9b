import asyncio
import os
import re
import shutil
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.external.base import OutputError
from harness.external.command import Command
from harness.external.run import LOG_FILE, HarnessFailed, run_driver
from harness.redact import Redactor
from tests.unit.harness.external.asking import make_ask
from tests.waiting import wait_for

ROOT = Path(__file__).parents[4]
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


async def test_what_an_earlier_run_left_is_not_taken_for_its_own(ask, tmp_path):
    stale = tmp_path / "out" / "results.json"
    stale.write_text('{"acc": 0.9}')
    with pytest.raises(OutputError, match="the command left no"):
        await run_driver(Command(), ask("true"), tmp_path)
    assert not stale.exists()


async def test_results_of_another_form_are_an_error_that_says_where_they_are(ask, tmp_path):
    class Other(Command):
        def outcome(self, ask):
            raise KeyError("accuracy")

    with pytest.raises(OutputError, match=r"not known \(KeyError: 'accuracy'\); its files are in .*out"):
        await run_driver(Other(), ask("true"), tmp_path)


async def test_an_error_of_another_version_says_so(ask, tmp_path):
    """An environment of the user's, whose harness is pytest."""

    class Other(Command):
        name = "pytest"
        requirements = ("pytest==0.0.1",)

        def outcome(self, ask):
            raise KeyError("accuracy")

    class Same(Other):
        requirements = (f"pytest=={pytest.__version__}",)

    said = rf"It is version {re.escape(pytest.__version__)}, and its driver is made for pytest==0.0.1: install that"
    with pytest.raises(HarnessFailed, match=f"exit code 1. {said}"):
        await run_driver(Other(), ask("false", python=sys.executable), tmp_path)
    with pytest.raises(OutputError, match=said):
        await run_driver(Other(), ask("true", python=sys.executable), tmp_path)
    with pytest.raises(HarnessFailed, match=r"exit code 1\nThe end"):
        await run_driver(Same(), ask("false", python=sys.executable), tmp_path)


async def test_a_progress_bar_is_seen_step_by_step(ask, tmp_path):
    program = tmp_path / "bar.sh"
    program.write_text("printf '1 of 2\\r2 of 2\\r\\n\\nend\\n'; echo '{\"acc\": 1}' > results.json\n")
    lines: list[str] = []
    await run_driver(Command(), ask(f"sh {program}"), tmp_path, on_line=lines.append)
    assert lines == ["1 of 2", "2 of 2", "end"]


@pytest.fixture(params=["docker", "podman"])
def engine(tmp_path, monkeypatch, request):
    """Stands for a container engine: reads its command line strictly, and runs the command as that says."""
    path = tmp_path / "bin" / request.param
    path.parent.mkdir()
    path.write_text(f"#!{sys.executable}\n{ENGINE}")
    path.chmod(0o755)
    for program in ("sh", "sleep"):
        (path.parent / program).symlink_to(str(shutil.which(program)))
    monkeypatch.setenv("PATH", str(path.parent))
    return request.param


ENGINE = """
import os, sys
assert sys.argv[1] == "run", sys.argv
rest, env, mounted, place = sys.argv[2:], {"PATH": os.environ["PATH"]}, [], "/"
while rest[0].startswith("--"):
    option = rest.pop(0)
    if option in ("--rm", "--init"):
        continue
    value = rest.pop(0)
    if option == "--env":
        name, given, text = value.partition("=")
        env[name] = text if given else os.environ[name]
    elif option == "--volume":
        outside, inside = value.split(":")[:2]
        assert outside == inside and os.path.isabs(inside)
        mounted.append(inside)
    elif option == "--workdir":
        place = value
    else:
        assert option in ("--network", "--user", "--userns"), option
assert rest.pop(0) == "image:1"
assert place in mounted
os.chdir(place)
os.execvpe(rest[0], rest, env)
"""


async def test_an_image_gets_the_folder_and_the_variables_of_its_harness_and_no_others(
    engine, ask, tmp_path, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-value")
    monkeypatch.setenv("OURS", "x")
    lines: list[str] = []
    text = """sh -c 'echo "$$MINE $$OPENAI_API_KEY [$$OURS] $$HOME"; echo "{\\"acc\\": 1}" > results.json'"""
    options = {"image": "image:1", "env": {"MINE": "hello"}}
    result, _ = await run_driver(Command(), ask(text, **options), tmp_path, on_line=lines.append)
    assert lines == [f"hello unused [] {tmp_path / 'out'}"]
    assert result.tasks["mine"].metrics["acc"].scores["acc"].value == 1.0


async def test_an_image_that_fails_is_an_error_with_the_end_of_its_log(engine, ask, tmp_path):
    with pytest.raises(HarnessFailed, match=r"exit code 3\n[\s\S]*no luck"):
        await run_driver(Command(), ask("sh -c 'echo no luck; exit 3'", image="image:1"), tmp_path)
    with pytest.raises(HarnessFailed, match=r"AssertionError"):
        await run_driver(Command(), ask("x", image="other"), tmp_path)


async def test_a_cancelled_run_ends_an_image(engine, ask, tmp_path):
    pid = tmp_path / "out" / "pid"
    options = {"image": "image:1"}
    task = asyncio.create_task(run_driver(Command(), ask(f"sh -c 'echo $$$$ > {pid}; sleep 600'", **options), tmp_path))
    await asyncio.to_thread(wait_for, lambda: pid.exists() and pid.read_text().strip() != "")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(wait_for, partial(ended, int(pid.read_text())))


async def test_an_image_without_an_engine_is_refused(ask, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="no docker or podman on PATH to run the image 'image:1'"):
        await run_driver(Command(), ask("x", image="image:1"), tmp_path)


def test_a_harness_does_not_outlive_a_runner_that_is_killed(ask, tmp_path):
    pids = tmp_path / "pids"
    program = tmp_path / "harness.sh"
    program.write_text(f"sleep 600 &\necho $! $$ > {pids}\nwait\n")
    runs = f"""
import asyncio
from pathlib import Path
from harness.external.command import Command
from harness.external.run import run_driver
from tests.unit.harness.external.asking import make_ask
ask = make_ask(Path({str(tmp_path / "out")!r}), "mine", options={{"command": "sh {program}"}})
asyncio.run(run_driver(Command(), ask, Path({str(tmp_path)!r})))
"""
    runner = subprocess.Popen([sys.executable, "-c", runs], cwd=ROOT)
    wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2, 60)
    runner.kill()
    runner.wait()
    for pid in map(int, pids.read_text().split()):
        wait_for(partial(ended, pid), 30)


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
