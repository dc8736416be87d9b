"""Where the store is: its URL, and whether its file system can carry it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proxy.store.base import StoreError

_SCHEME = "sqlite:///"
_NETWORK = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "drvfs",
        "fuse.cephfs",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "pvfs2",
        "smb2",
        "smb3",
        "smbfs",
        "vboxsf",
    ]
)
"""File systems on which SQLite's WAL cannot work: its shared memory does not reach other hosts."""
_OCTAL = re.compile(r"\\([0-7]{3})")
"""How mountinfo writes blanks and backslashes."""


def parse_store_url(url: str) -> Path:
    """Return the database file that `url` names.

    Raises:
        StoreError: another kind of store.
    """
    scheme = url.partition(":")[0].lower()
    if scheme.startswith("postgres"):
        raise StoreError("store: PostgreSQL is not supported yet; use sqlite:///PATH on a local disk")
    name = url.removeprefix(_SCHEME)
    if not url.startswith(_SCHEME) or not name:
        shown = f"'{scheme}:…'" if "@" in url else f"'{url}'"  # what stands before an @ may be a password
        raise StoreError(f"store {shown} is not a store URL; write sqlite:///PATH")
    if name == ":memory:" or "?" in name:
        raise StoreError(f"store '{url}' is not a file; write sqlite:///PATH, without options")
    return Path(name).expanduser()


def prepare_file(path: Path) -> None:
    """Create the file and its folder for their owner alone, where they are missing.

    Raises:
        StoreError: they cannot be created or written, or lie on a network file system.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_network(path)
        _make(path)
        path.chmod(0o600)  # an older umask, or a file made by hand, may have left it open to others
    except OSError as error:
        raise StoreError(
            f"store: {path} cannot be written ({error.strerror}); name another place in 'store' (EVALSIDE_STORE), or in"
            " caching's cache_dir"
        ) from None


def _make(path: Path) -> None:
    """Create the file where it is missing, and never open one that is there.

    To close it again would release every lock that this process holds on it (POSIX), those of its SQLite connections
    too: the next process to close the database would then take its WAL from under them.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        wrong = errno.EISDIR if path.is_dir() else 0 if os.access(path, os.R_OK | os.W_OK) else errno.EACCES
        if wrong:
            raise OSError(wrong, os.strerror(wrong)) from None


def refuse_network(path: Path, mounts: str | None = None) -> None:
    """Raise where `path` lies on a network file system.

    Args:
        path: the database file; its folder exists.
        mounts: the text of `/proc/self/mountinfo` (see proc(5)); read where it is not given. Systems without it are
            not checked.

    Raises:
        StoreError: it does.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(errors="replace")
        except OSError:
            return
    folder = path.parent.resolve()
    best, kind = Path(), ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        mounted = Path(_OCTAL.sub(lambda escape: chr(int(escape[1], 8)), fields[4]))
        if folder.is_relative_to(mounted) and len(mounted.parts) >= len(best.parts):
            best, kind = mounted, after.split()[0]
    if kind in _NETWORK:
        raise StoreError(
            f"store: {path} is on a network file system ({kind} at {best}), where SQLite corrupts under several"
            " processes; put it on a local disk, for example store: sqlite:////var/tmp/evalside/evalside.db"
        )


@contextmanager
def folder_lock(path: Path) -> Iterator[None]:
    """Hold a lock on the folder of `path`, so that workers that start together migrate one after the other."""
    try:
        descriptor = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise StoreError(f"store: the folder {path.parent} cannot be opened ({error.strerror})") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Say what is wrong with a database that cannot be opened.

    Raises:
        StoreError: in place of what the block raises of the file or of SQLite.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(f"store: {path.parent} cannot be written ({error.strerror}); name another place") from None
    except sqlite3.OperationalError as error:
        raise StoreError(
            f"store: {path} cannot be used ({error}); stop what else holds it or make room on its disk, or"
            " name another file in 'store'. Nothing was changed."
        ) from None
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"store: {path} is not usable ({error}); move it aside, or name another file in 'store'."
            " Nothing was changed."
        ) from None
