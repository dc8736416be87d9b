"""What a sidecar knows of a run, asked before it stops."""

from dataclasses import dataclass, field
from typing import Any

import httpx

_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class SidecarFacts:
    """`run` is what `GET /-/runs/{run}` says, `config` what `GET /-/config` says; secrets are redacted there."""

    run: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


async def sidecar_facts(origin: str, run: str) -> SidecarFacts:
    """What the sidecar at `origin` knows of `run`; nothing of what it does not answer. Never raises for that.

    A run that ended well is not spoilt by a report that lacks a number.
    """
    async with httpx.AsyncClient(base_url=origin, trust_env=False, timeout=_TIMEOUT_S) as http:
        return SidecarFacts(await _document(http, f"/-/runs/{run}"), await _document(http, "/-/config"))


async def _document(http: httpx.AsyncClient, path: str) -> dict[str, Any]:
    try:
        response = await http.get(path)
        document = response.json() if response.status_code == 200 else None
    except (httpx.HTTPError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
