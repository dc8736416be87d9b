"""Bundles as an export writes them, and as nobody should."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from proxy.store.bundle.checking import read_manifest
from proxy.store.bundle.exporting import export_run
from proxy.store.bundle.importing import import_bundle
from proxy.store.bundle.manifest import BundleError, sealed
from tests.docs.markdown import DOCS, code, table
from tests.unit.store.bundle_data import PIPELINE, rows

PAGE = DOCS / "reference" / "bundles.md"


def fields(heading: str) -> list[str]:
    return [code(row["field"]) for row in table(PAGE, heading)]


def export(db: Path, run: str | None = "one", name: str = "run.evalside") -> Path:
    export_run(db, run, db.with_name(name), pipeline=PIPELINE)
    return db.with_name(name)


def refused(made: Path, target: Path, message: str) -> None:
    """A bundle that neither function takes, and that leaves no trace."""
    tables = ("responses", "runs", "uses", "run_identities")
    before = [rows(target, table) for table in tables]
    for attempt in (lambda: read_manifest(made), lambda: import_bundle(target, made)):
        with pytest.raises(BundleError, match=message) as caught:
            attempt()
        assert str(made) in str(caught.value)
    assert [rows(target, table) for table in tables] == before


def forge(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """An archive whose seal is right, as an attacker makes it."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.comment = b"sha256:" + b"0" * 64
    data = path.read_bytes()[:-71]
    path.write_bytes(data + b"sha256:" + hashlib.sha256(data).hexdigest().encode())
    return path


def forged(made: Path, *, lines: list[bytes] | None = None, **changes: object) -> Path:
    """A bundle with other lines or fields of the manifest, and every checksum right."""
    with zipfile.ZipFile(made) as archive:
        entries = archive.read("entries.jsonl") if lines is None else b"".join(line + b"\n" for line in lines)
        manifest = json.loads(archive.read("manifest.json"))
    del manifest["checksum"]
    manifest["members"] = {"entries.jsonl": {"size": len(entries), "sha256": hashlib.sha256(entries).hexdigest()}}
    manifest |= changes
    return forge(made.with_name("forged"), {"entries.jsonl": entries, "manifest.json": sealed(manifest)})


def lines_of(made: Path) -> list[bytes]:
    with zipfile.ZipFile(made) as archive:
        return archive.read("entries.jsonl").splitlines()
