"""The request headers that speak to the sidecar: read, checked, and never sent upstream."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from proxy.core.errors import InvalidHeader, InvalidRun
from proxy.core.http import Headers
from proxy.core.nearest import did_you_mean

PREFIX = b"x-evalside-"
RUN = b"x-evalside-run"
CACHE = b"x-evalside-cache"

SAMPLE = b"x-evalside-sample"

CACHE_MODES = ("on", "off", "read", "write", "refresh", "replay", "verify")
_HIGHEST_SAMPLE = 2**31
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_KNOWN = (RUN, CACHE, SAMPLE, b"x-evalside-token")


class Controls(NamedTuple):
    """What a request asks of the sidecar itself."""

    run: str | None
    cache: str | None
    sample: int | None


@lru_cache(maxsize=1024)  # a client sends the same names again and again
def speaks_to_us(names: tuple[bytes, ...]) -> bool:
    """Return whether fields of these names hold one for the sidecar."""
    return any(name.startswith(PREFIX) for name in names)


def read_controls(headers: Headers, url_run: str | None) -> Controls:
    """Return what the `x-evalside-*` headers ask for.

    Args:
        headers: the request's fields, names in lower case.
        url_run: the run that the URL selects, None where it selects none.

    Raises:
        InvalidRun: the name is not one, or differs from the URL's.
        InvalidHeader: another value, or a header of this prefix that has no meaning.
    """
    run, cache, sample = url_run, None, None
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
        elif name == SAMPLE:
            sample = _index(text)
        elif name not in _KNOWN:
            unknown = name.decode("latin-1")
            known = [known.decode() for known in _KNOWN]
            raise InvalidHeader(f"'{unknown}' is not a header of this sidecar{did_you_mean(unknown, known)}")
    return Controls(run, cache, sample)


def _index(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) >= _HIGHEST_SAMPLE:
        raise InvalidHeader(f"x-evalside-sample '{text}' is not an index; samples are numbered 0, 1, 2, …")
    return int(text)


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
