"""Whether a bundle is to be believed: every byte, every answer, and what the manifest tells of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from proxy.store.base import EntryKey, StoredResponse
from proxy.store.bundle.archive import Archive, opened
from proxy.store.bundle.choice import Tally
from proxy.store.bundle.manifest import Manifest


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of a bundle, every byte and every answer of which was checked.

    Raises:
        BundleError: it cannot be read, or is not to be trusted.
    """
    with opened(path) as archive:
        for _ in checked(archive):
            pass
        return archive.manifest


def checked(archive: Archive) -> Iterator[tuple[EntryKey, StoredResponse]]:
    """Yield a bundle's answers; raises BundleError, after the last, where the manifest tells something else of them."""
    tally = Tally()
    for at, response in archive.entries():
        tally.add(at, response)
        yield at, response
    manifest = archive.manifest
    told = manifest.model_dump()
    for field, counted in (
        ("counts", tally.counts(manifest.counts.left_out)),
        ("models", tuple(sorted(tally.models))),
        ("created", tally.created),
    ):
        if told[field] != counted:
            raise archive.error(f"manifest.json: field '{field}' is {told[field]}, and the entries add up to {counted}")
    unknown = sorted(tally.identities.keys() - {identity.name for identity in manifest.identities})
    if unknown:
        raise archive.error(f"manifest.json: field 'identities' lacks '{unknown[0]}', which an entry names")
