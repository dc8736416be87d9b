"""What a bundle says about itself: docs/reference/bundles.md is its specification."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from proxy.dialects.frozen import Frozen
from proxy.store.base import StoreError
from proxy.wire.key import KEY_VERSION

FORMAT = "evalside-bundle"
VERSION = 1

RUN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
"""Names of runs, as a regular expression."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Since the epoch."""

_LONGEST_SHOWN = 60


class BundleError(StoreError):
    """A bundle that cannot be written or trusted. The message names the file, the place in it and the way out."""


class Strict(BaseModel):
    """Data from outside: nothing is converted, and nothing unknown is let through."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class BundleIdentity(Strict):
    """One model server that answered."""

    name: Annotated[str, Field(min_length=1)]
    """As it is in the keys."""
    server: str
    """Its kind; empty where nobody noted it."""
    facts: dict[str, str]
    """What the name was made of."""
    first_at: Seconds
    """When it was seen first."""


class Counts(Strict):
    """What a bundle holds."""

    entries: Annotated[int, Field(ge=1)]
    deterministic: Count
    samples: Count
    bytes: Count
    """Of request bodies and answers, as they were sent."""
    left_out: Count
    """Answers of the run that no bundle can hold."""


class Member(Strict):
    """A file in the archive, before compression."""

    size: Count
    sha256: Sha256


class Members(Strict):
    """Every file in the archive but the manifest."""

    entries: Annotated[Member, Field(alias="entries.jsonl")]


class Manifest(Strict):
    """The manifest of a bundle."""

    format: Literal["evalside-bundle"]
    version: Literal[1]
    evalside: str
    """Version that wrote it."""
    key_version: str
    created: Seconds
    """When the newest of its answers came."""
    run: Annotated[str, Field(pattern=f"^{RUN}$")] | None
    """None for a bundle of everything."""
    number: Annotated[int, Field(ge=0, alias="pass")]
    identities: tuple[BundleIdentity, ...]
    """Latest first."""
    pipeline: dict[str, Any]
    """What the exporting sidecar was configured to do, secrets redacted. Nothing reads it."""
    capabilities: dict[str, Any] | None
    """What the model server can do, as `evalside probe` found it, frozen. Nothing reads it."""
    profiles: Annotated[dict[str, Frozen], Field(min_length=1)] | None = None
    """What `normalize` went by in each run; None where it was not used."""
    models: tuple[str, ...]
    """That the requests name, sorted."""
    counts: Counts
    members: Members
    checksum: Sha256
    """SHA-256 over the manifest without this field."""


def sealed(document: Mapping[str, Any]) -> bytes:
    """Return the manifest with its checksum, as the bytes of `manifest.json`."""
    return _canonical({**document, "checksum": _checksum(document)})


def read_sealed(raw: bytes) -> Manifest:
    """Return the manifest in the bytes of `manifest.json`.

    Raises:
        ValueError: it is damaged, of another version, or not one at all; the message names the field.
    """
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"is not JSON ({error})") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"is not the manifest of a bundle: field 'format' is not '{FORMAT}'")
    if document.get("version") != VERSION:
        raise ValueError(
            f"has format version {shown(document.get('version'))}, and this evalside reads version {VERSION};"
            " use the evalside that wrote it, or a newer one"
        )
    if document.get("key_version") != KEY_VERSION.decode():
        raise ValueError(
            f"has keys of version {shown(document.get('key_version'))}, and this evalside makes version"
            f" {KEY_VERSION.decode()}: no request would find its answers; use the evalside that wrote it"
        )
    if document.get("checksum") != _checksum({name: document[name] for name in document if name != "checksum"}):
        raise ValueError("does not have the checksum that its field 'checksum' names; copy the bundle again")
    if _canonical(document) != raw:
        raise ValueError("is not in canonical form")
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        raise ValueError(explained(error)) from None


def explained(error: ValidationError) -> str:
    """Return the first mistake in one line: the field, what is in it, and what should be."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"field '{field}' is {shown(first['input'])}: {first['msg']}"


def shown(value: object) -> str:
    """Return a value for an error message."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _checksum(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(document)).hexdigest()


def _canonical(document: Mapping[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
