"""The request headers that speak to the sidecar: read, checked, and never sent upstream."""

from __future__ import annotations

import re
from typing import NamedTuple

from proxy.core.errors import InvalidHeader, InvalidRun
from proxy.core.http import Headers

PREFIX = b"x-evalside-"
RUN = b"x-evalside-run"
CACHE = b"x-evalside-cache"

CACHE_MODES = ("on", "off", "read", "write")
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_KNOWN = frozenset({RUN, CACHE, b"x-evalside-token"})


class Controls(NamedTuple):
    """What a request asks of the sidecar itself."""

    run: str | None
    cache: str | None


def read_controls(headers: Headers, url_run: str | None) -> Controls:
    """Return what the `x-evalside-*` headers ask for.

    Args:
        headers: the request's fields, names in lower case.
        url_run: the run that the URL selects, None where it selects none.

    Raises:
        InvalidRun: the name is not one, or differs from the URL's.
        InvalidHeader: another value, or a header of this prefix that has no meaning.
    """
    run, cache = url_run, None
    seen: dict[bytes, str] = {}
    for name, value in headers:
        if not name.startswith(PREFIX):
            continue
        text = value.decode("latin-1").strip()
        if seen.setdefault(name, text) != text:
            raise InvalidHeader(f"{name.decode('latin-1')} is given twice, with different values")
        if name == RUN:
            run = check_run(text)
            if url_run is not None and run != url_run:
                raise InvalidRun(f"the URL selects run '{url_run}' and x-evalside-run '{run}'; they must agree")
        elif name == CACHE:
            if text not in CACHE_MODES:
                raise InvalidHeader(f"x-evalside-cache '{text}' is not one of {', '.join(CACHE_MODES)}")
            cache = text
        elif name not in _KNOWN:
            raise InvalidHeader(f"'{name.decode('latin-1')}' is not a header of this sidecar")
    return Controls(run, cache)


def check_run(name: str) -> str:
    """Return `name` if it is a run's.

    Raises:
        InvalidRun: it is not.
    """
    if RUN_NAME.fullmatch(name) is None:
        raise InvalidRun(
            f"'{name}' is not a run name: a letter or digit, then up to 127 letters, digits, dots, underscores, dashes"
        )
    return name


def without_controls(headers: Headers) -> Headers:
    """Return the fields that are not for the sidecar."""
    return [item for item in headers if not item[0].startswith(PREFIX)]
