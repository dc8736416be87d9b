"""The file that a bundle is: a ZIP archive that always has the same bytes for the same content, and says their sum."""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from proxy.store.base import EntryKey, StoredResponse
from proxy.store.bundle.entry import read_line
from proxy.store.bundle.manifest import BundleError, Manifest, Member, read_sealed, shown

ENTRIES = "entries.jsonl"
MANIFEST = "manifest.json"

LONGEST_LINE = 256 * 1024 * 1024
"""Bytes. A longer line is refused: it is read into memory."""
LARGEST_MANIFEST = 16 * 1024 * 1024
LARGEST = 64 * 1024 * 1024 * 1024
"""Bytes of all entries together."""
MOST_ENTRIES = 20_000_000

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_SEAL = b"sha256:"
_SEAL_SIZE = len(_SEAL) + 64
_BROKEN = (BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError, ValueError, zlib.error)
"""What the standard library raises for an archive that it cannot read."""


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """Give a file, for its owner alone, that takes the place of `target` once it is written without an error.

    Raises:
        BundleError: it cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{os.urandom(6).hex()}")
    try:
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise BundleError(f"{target} cannot be written ({error.strerror}); name another file") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_archive(target: Path, lines: Iterable[bytes], manifest: Callable[[Member], bytes]) -> None:
    """Write a bundle.

    Args:
        target: is replaced where it exists.
        lines: the entries, in order.
        manifest: called after the last line with what was written; returns the bytes of `manifest.json`.

    Raises:
        BundleError: it cannot be written.
    """
    with replacing(target) as file:
        with ZipFile(file, "w", ZIP_DEFLATED) as archive:
            size, digest = 0, hashlib.sha256()
            with archive.open(_info(ENTRIES), "w", force_zip64=True) as member:
                for line in lines:
                    member.write(line + b"\n")
                    digest.update(line + b"\n")
                    size += len(line) + 1
            archive.writestr(_info(MANIFEST), manifest(Member(size=size, sha256=digest.hexdigest())))
            archive.comment = _SEAL + b"0" * 64
        end = file.seek(-_SEAL_SIZE, os.SEEK_END)
        seal = _seal(file, end)
        file.seek(end)
        file.write(seal)


def _info(name: str) -> ZipInfo:
    info = ZipInfo(name, _EPOCH)
    info.compress_type = ZIP_DEFLATED
    info.create_system = _UNIX
    info.external_attr = 0o600 << 16
    return info


def _seal(file: IO[bytes], end: int) -> bytes:
    """Return what the first `end` bytes of a file have to be followed by."""
    digest = hashlib.sha256()
    file.seek(0)
    while end > 0 and (chunk := file.read(min(end, 1 << 20))):
        digest.update(chunk)
        end -= len(chunk)
    return _SEAL + digest.hexdigest().encode()


class Archive:
    """A bundle that is open, and whose manifest is known to be sound."""

    def __init__(self, path: Path, archive: ZipFile) -> None:
        self._path = path
        self._archive = archive
        self.manifest = self._manifest()

    def _manifest(self) -> Manifest:
        names = [info.filename for info in self._archive.infolist()]
        if names != [ENTRIES, MANIFEST]:
            listed = ", ".join(map(shown, names[:3]))
            raise self.error(f"holds {len(names)} files ({listed}); a bundle holds {ENTRIES} and {MANIFEST}")
        for info, largest in zip(self._archive.infolist(), (LARGEST, LARGEST_MANIFEST), strict=True):
            if info.file_size > largest:
                raise self.error(f"{info.filename} says it has {info.file_size} bytes; at most {largest} are read")
            if info.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
                raise self.error(f"{info.filename} is compressed by method {info.compress_type}; only 0 and 8 are read")
        with self._archive.open(MANIFEST) as member:
            raw = member.read(LARGEST_MANIFEST + 1)
        try:
            return read_sealed(raw)
        except ValueError as error:
            raise self.error(f"{MANIFEST} {error}") from None

    def entries(self) -> Iterator[tuple[EntryKey, StoredResponse]]:
        """Yield every answer, checked, in order. What came before an error is not to be used either.

        Raises:
            BundleError: one is not to be believed, or they are not those that the manifest speaks of.
        """
        digest, size, last = hashlib.sha256(), 0, None
        for number, line in enumerate(self._lines(), start=1):
            where = f"{ENTRIES} line {number}"
            if number > MOST_ENTRIES:
                raise self.error(f"{where}: at most {MOST_ENTRIES} entries are read")
            if len(line) > LONGEST_LINE or not line.endswith(b"\n"):
                raise self.error(f"{where}: is cut, or longer than {LONGEST_LINE} bytes")
            digest.update(line)
            size += len(line)
            try:
                at, response = read_line(line[:-1])
            except ValueError as error:
                raise self.error(f"{where}: {error}") from None
            own = self.manifest.run
            if own is not None and at.pool and not at.pool.startswith(own + "/"):
                raise self.error(f"{where}: field 'pool' is {shown(at.pool)}, and the bundle is of run '{own}'")
            place = order(at)
            if last is not None and place <= last:
                raise self.error(f"{where}: is out of order, or there twice")
            last = place
            yield at, response
        if Member(size=size, sha256=digest.hexdigest()) != self.manifest.members.entries:
            raise self.error(f"{ENTRIES} is not the one whose size and sha256 {MANIFEST} names; copy the bundle again")

    def _lines(self) -> Iterator[bytes]:
        with self._archive.open(ENTRIES) as member, io.BufferedReader(cast(io.RawIOBase, member), 1 << 20) as lines:
            while line := lines.readline(LONGEST_LINE + 1):
                yield line

    def error(self, what: str) -> BundleError:
        """Return an error that names the bundle."""
        return BundleError(f"bundle {self._path}: {what}")


def order(at: EntryKey) -> tuple[str, bytes, int, str]:
    """Return what entries are sorted by."""
    return at.pool, at.key, at.sample or 0, at.shape


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open a bundle whose bytes are those that were written.

    Raises:
        BundleError: it cannot be read, or was damaged.
    """
    try:
        with path.open("rb") as file, ZipFile(_unbroken(path, file)) as archive:
            yield Archive(path, archive)
    except OSError as error:
        raise BundleError(f"bundle {path} cannot be read ({error.strerror or error}); name another file") from None
    except _BROKEN as error:
        raise BundleError(f"bundle {path} is not a readable archive ({error}); copy it again") from None


def _unbroken(path: Path, file: BinaryIO) -> BinaryIO:
    size = file.seek(0, os.SEEK_END)
    end = max(size - _SEAL_SIZE, 0)
    expected = _seal(file, end)
    if file.read() != expected:
        raise BundleError(
            f"bundle {path} is damaged, cut or no bundle: it does not end with the SHA-256 of its bytes; copy it again"
        )
    return file
