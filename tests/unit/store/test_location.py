import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from proxy.store.base import StoreError
from proxy.store.location import parse_store_url, prepare_file, refuse_network, usable
from proxy.store.sqlite import SqliteStore
from proxy.testing.contracts import record

MOUNTS = """22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw
40 22 0:35 / {mounted} rw,relatime shared:1 - {kind} server:/export rw
"""


def test_urls() -> None:
    assert parse_store_url("sqlite:///./a/b.db") == Path("a/b.db")
    assert parse_store_url("sqlite:////var/b.db") == Path("/var/b.db")


@pytest.mark.parametrize(
    "url", ["", "sqlite:///", "/var/b.db", "sqlite:///:memory:", "sqlite:///b.db?mode=ro", "mysql:x"]
)
def test_other_urls_are_refused_with_the_form_to_write(url: str) -> None:
    with pytest.raises(StoreError, match="sqlite:///PATH"):
        parse_store_url(url)


@pytest.mark.parametrize("url", ["postgresql://me:hunter22@db/x", "postgresql+asyncpg://me:hunter22@db/x"])
def test_postgresql_is_not_supported_yet(url: str) -> None:
    with pytest.raises(StoreError, match="PostgreSQL is not supported yet; use sqlite:///PATH"):
        parse_store_url(url)


def test_a_password_in_a_url_is_not_shown() -> None:
    with pytest.raises(StoreError) as raised:
        parse_store_url("mysql://me:hunter22@db/x")
    assert "hunter22" not in str(raised.value)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs", "lustre"])
def test_network_file_systems_are_refused_with_a_way_out(tmp_path: Path, kind: str) -> None:
    with pytest.raises(StoreError, match=rf"network file system \({kind} at .*put it on a local disk, for example"):
        refuse_network(tmp_path / "b.db", MOUNTS.format(mounted=tmp_path, kind=kind))


def test_only_the_innermost_mount_counts(tmp_path: Path) -> None:
    def is_refused(mounts: str) -> bool:
        try:
            refuse_network(tmp_path / "b.db", mounts)
        except StoreError:
            return True
        return False

    outer = MOUNTS.format(mounted=tmp_path.parent, kind="nfs")
    inner = f"41 40 0:36 / {tmp_path} rw - tmpfs tmpfs rw\n"
    assert is_refused(outer)
    assert not is_refused(outer + inner)
    assert not is_refused(MOUNTS.format(mounted=tmp_path, kind="ext4"))
    assert not is_refused(MOUNTS.format(mounted="/elsewhere", kind="nfs"))


def test_a_mount_point_with_a_space_is_recognized(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    with pytest.raises(StoreError):
        refuse_network(folder / "b.db", MOUNTS.format(mounted=str(folder).replace(" ", r"\040"), kind="nfs"))


async def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = SqliteStore(tmp_path / "new" / "b.db")
        store.open()
        store.append(record("a"))
        await store.flush()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
        assert modes == {"b.db": 0o600, "b.db-wal": 0o600, "b.db-shm": 0o600, "b.db-workers": 0o700}
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
        store.close()
    finally:
        os.umask(old)


def test_a_file_that_was_open_to_others_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "b.db").touch(0o644)
    store = SqliteStore(tmp_path / "b.db")
    store.open()
    store.close()
    assert stat.S_IMODE((tmp_path / "b.db").stat().st_mode) == 0o600


@pytest.mark.parametrize("path", ["/proc/evalside/b.db", "/dev/null/b.db", "/"])
def test_a_place_that_cannot_be_written_is_named_with_the_way_out(path: str) -> None:
    with pytest.raises(StoreError, match=rf"{path}.* cannot be written .*EVALSIDE_STORE"):
        SqliteStore(Path(path)).open()


def test_a_database_in_use_keeps_its_locks(tmp_path: Path) -> None:
    """Without them the next process that closes it takes itself for the last one, and deletes the WAL in use."""
    path = tmp_path / "used.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (x)")
        prepare_file(path)
        other = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('DELETE FROM t'); c.close()"
        subprocess.run([sys.executable, "-c", other, path], check=True)
        assert (tmp_path / "used.db-wal").exists()
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_what_cannot_be_a_database_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Is a directory"):
        prepare_file(tmp_path)


def test_a_file_that_may_not_be_written_is_said(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.db"
    path.touch()
    monkeypatch.setattr(os, "access", lambda *args: False)
    with pytest.raises(StoreError, match="Permission denied"):
        prepare_file(path)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(30, "Read-only file system"), r"/a cannot be written \(Read-only file system\); name another place"),
        (sqlite3.OperationalError("database is locked"), r"/a/b\.db cannot be used \(database is locked\); stop what"),
        (sqlite3.DatabaseError("malformed"), r"/a/b\.db is not usable \(malformed\); move it aside"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_a_way_out(error: Exception, says: str) -> None:
    with pytest.raises(StoreError, match=says), usable(Path("/a/b.db")):
        raise error
