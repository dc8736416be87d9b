"""Header fields that belong to one connection and must not travel further (RFC 9110, section 7.6.1)."""

from __future__ import annotations

from functools import lru_cache

from proxy.core.http import Headers

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


def end_to_end(headers: Headers, also: frozenset[bytes] = frozenset()) -> Headers:
    """Return the fields that travel on: not hop-by-hop, not named in a Connection field, not in `also`."""
    dropped = _with_hop_by_hop(also)
    kept = [item for item in headers if item[0].lower() not in dropped]
    if len(kept) < len(headers):
        named = {
            token.strip().lower()
            for name, value in headers
            if name.lower() == b"connection"
            for token in value.split(b",")
        }
        if named:
            return [item for item in kept if item[0].lower() not in named]
    return kept


@lru_cache(maxsize=64)
def _with_hop_by_hop(names: frozenset[bytes]) -> frozenset[bytes]:
    return HOP_BY_HOP | names
