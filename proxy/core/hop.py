"""Header fields that belong to one connection and must not travel further (RFC 9110, section 7.6.1)."""

from __future__ import annotations

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
    dropped = HOP_BY_HOP | also
    for name, value in headers:
        if name.lower() == b"connection":
            dropped |= {token.strip().lower() for token in value.split(b",")}
    return [item for item in headers if item[0].lower() not in dropped]
