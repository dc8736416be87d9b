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


async def sidecar_facts(origin: str, run: str, since: int) -> SidecarFacts:
    """What the sidecar at `origin` knows of `run`; nothing of what it does not answer. Never raises for that.

    Statistics are of all passes from `since` on, the rest of the latest. A run that ended well is not spoilt by a
    report that lacks a number.
    """
    async with httpx.AsyncClient(base_url=origin, trust_env=False, timeout=_TIMEOUT_S) as http:
        return SidecarFacts(await _document(http, f"/-/runs/{run}?since={since}"), await _document(http, "/-/config"))


async def latest_pass(origin: str, run: str) -> int:
    """The pass that a run is on; 0 where the sidecar does not know the run yet."""
    async with httpx.AsyncClient(base_url=origin, trust_env=False, timeout=_TIMEOUT_S) as http:
        return int((await _document(http, f"/-/runs/{run}")).get("pass") or 0)


async def _document(http: httpx.AsyncClient, path: str) -> dict[str, Any]:
    try:
        response = await http.get(path)
        document = response.json() if response.status_code == 200 else None
    except (httpx.HTTPError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
