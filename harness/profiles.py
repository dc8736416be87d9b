"""What `evalside probe` found out about an endpoint, where it was run in this working directory."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.api import ApiEndpoint
from harness.errors import ConfigurationError
from harness.tasks.catalog import Entry, missing
from harness.tasks.needs import Lack, lacks

FOLDER = Path(".evalside") / "profiles"
_NEEDS = {
    "logprobs": "logprobs",
    "tools": "tools",
    "image_url": "images",
    "image_url_with_detail": "images",
    "multi_image_url": "images",
    "audio_url": "audio",
}
"""What the reference system calls a capability, and the need that the probe tests."""
_ENDPOINTS = ("/chat/completions", "/completions", "/embeddings", "/responses", "/messages")


def find_profile(endpoint: ApiEndpoint, folder: Path = FOLDER) -> tuple[Path, Mapping[str, Any]] | None:
    """The newest profile of the endpoint and its model, with its file; None where nobody probed it.

    Raises ConfigurationError if a file there is no profile.
    """
    found = []
    for path in folder.glob("*.json") if folder.is_dir() else ():
        document = _read(path)
        if _base(str(document.get("url", ""))) != _base(endpoint.url):
            continue
        if endpoint.model_id is None or document.get("model") in {None, endpoint.model_id}:
            found.append((str(document.get("probed_at", "")), path, document))
    if not found:
        return None
    _, path, document = max(found, key=lambda each: (each[0], each[1]))
    return path, document


def refuse_lacking(entry: Entry, endpoint: ApiEndpoint, folder: Path = FOLDER) -> None:
    """Raises ConfigurationError if a task needs what the endpoint was found to lack; nothing is asked for this."""
    found = find_profile(endpoint, folder)
    if found is None:
        return
    path, profile = found
    _refuse(f"what task {entry.qualified} needs", path, endpoint, missing(entry, profile, endpoint.speaks()))


def require(capabilities: Sequence[str], endpoint: ApiEndpoint, folder: Path = FOLDER) -> None:
    """Raises ConfigurationError unless the endpoint's profile has no word against these capabilities.

    They are the reference system's `required_capabilities`; without a profile nothing is known of them.
    """
    for capability in capabilities:
        if capability not in _NEEDS:
            raise ConfigurationError(
                f"required_capabilities names {capability!r}, which evalside probe does not test; leave it out"
            )
    if not capabilities:
        return
    found = find_profile(endpoint, folder)
    if found is None:
        raise ConfigurationError(
            f"required_capabilities names {capabilities[0]!r}, and nobody probed this endpoint; run "
            f"`evalside probe --upstream {endpoint.url}` first, or leave it out"
        )
    path, profile = found
    needs = sorted({_NEEDS[capability] for capability in capabilities})
    _refuse(
        "what required_capabilities asks for", path, endpoint, lacks("this run", needs, [endpoint.speaks()], profile)
    )


def _refuse(what: str, path: Path, endpoint: ApiEndpoint, found: Sequence[Lack]) -> None:
    if found:
        said = "\n".join(f"  - {lack.reason}" for lack in found)
        raise ConfigurationError(
            f"the endpoint cannot do {what}, as evalside probe found ({path}):\n{said}\n"
            f"If it can by now, run `evalside probe --upstream {endpoint.url}` again, or delete that file."
        )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the profile {path} cannot be read: {error}; delete it, or write it anew with evalside probe"
        ) from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} is no capability profile; delete it, or write it anew with evalside probe")
    return document


def _base(url: str) -> tuple[str, str]:
    """Host with port, and the path below which the API is: origin, …/v1 and a full URL are the same server."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    for ending in _ENDPOINTS:
        path = path.removesuffix(ending)
    return parts.netloc, path.removesuffix("/v1")
