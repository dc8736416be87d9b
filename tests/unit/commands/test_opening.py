from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from proxy.commands.log import log_app
from proxy.commands.opening import open_log, pass_of, whole_run
from proxy.store import samples
from proxy.store.sqlite import SqliteStore


@pytest.fixture
async def store(tmp_path) -> str:
    path = tmp_path / "b.db"
    made = SqliteStore(path)
    made.open()
    for name in ("run", "run-2", "run-3", "other"):
        await made.change(partial(samples.new_pass, name=name, source=None, mode=None))
    await made.change(lambda db: samples.new_pass(db, "run", source=None, mode=None))
    made.close()
    return f"sqlite:///{path}"


def test_a_run_is_named_whole_or_by_its_beginning(store) -> None:
    with open_log(None, store) as log:
        assert [whole_run(log.db, name) for name in ("run", "run-2", "o")] == ["run", "run-2", "other"]


def test_the_latest_pass_is_meant_where_none_is_named(store) -> None:
    with open_log(None, store) as log:
        assert [pass_of(log.db, "run", number) for number in (None, 0, 1)] == [1, 0, 1]


@pytest.mark.parametrize(
    ("name", "says"),
    [("none", "there is no run 'none' in this store"), ("run-", "several runs begin with 'run-' (run-2, run-3, …)")],
)
def test_a_run_that_is_not_there_ends_the_command(store, capsys, name, says) -> None:
    with pytest.raises(typer.Exit), open_log(None, store) as log:
        whole_run(log.db, name)
    assert says in capsys.readouterr().err


def test_a_store_that_is_not_there_ends_the_command(tmp_path, capsys) -> None:
    with pytest.raises(typer.Exit), open_log(None, f"sqlite:///{tmp_path}/none.db"):
        pass
    assert "there is no store at" in capsys.readouterr().err


def damaged(path: Path) -> None:
    """Overwrite every page but the first, which says that it is a database."""
    store = SqliteStore(path)
    store.open()
    store.close()
    raw = path.read_bytes()
    page = int.from_bytes(raw[16:18], "big")
    path.write_bytes(raw[:page] + b"\xff" * (len(raw) - page))


@pytest.mark.parametrize("words", [["ls"], ["changes", "r"], ["show", "0"], ["export", "--run", "r", "-o", "x"]])
@pytest.mark.parametrize(
    "make", [damaged, lambda path: path.write_bytes(b"no database" * 1000)], ids=["damaged", "none"]
)
def test_a_damaged_store_is_named_with_a_way_out(
    tmp_path: Path, words: list[str], make: Callable[[Path], object]
) -> None:
    path = tmp_path / "b.db"
    make(path)
    told = CliRunner().invoke(log_app, [*words, "--store", f"sqlite:///{path}"])
    assert told.exit_code == 2, told.output
    assert f"{path} cannot be read" in told.stderr
    assert "move it aside" in told.stderr
    assert "model server" not in told.stderr
