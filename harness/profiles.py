"""What `evalside probe` found out about an endpoint, where it was run in this working directory."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.api import ApiEndpoint
from harness.errors import ConfigurationError
from harness.tasks.catalog import Entry, missing

FOLDER = Path(".evalside") / "profiles"
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
    reasons = [lack.reason for lack in missing(entry, profile, endpoint.speaks())]
    if reasons:
        said = "\n".join(f"  - {reason}" for reason in reasons)
        raise ConfigurationError(
            f"the endpoint cannot do what task {entry.qualified} needs, as evalside probe found ({path}):\n{said}\n"
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
