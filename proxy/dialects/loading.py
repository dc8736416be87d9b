"""From a dialect's name, or the path of a file, to what it says."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from proxy.core.nearest import did_you_mean
from proxy.dialects.model import Dialect

AUTO = "auto"
"""In place of a name: as the model server is recognized."""

_SUFFIX = ".toml"


class DialectError(ValueError):
    """A dialect that does not exist or cannot be read. The message names the file, the place in it and the way out."""


@cache
def names() -> tuple[str, ...]:
    """Return the dialects that are shipped, sorted."""
    folder = files("proxy.dialects")
    return tuple(sorted(item.name.removesuffix(_SUFFIX) for item in folder.iterdir() if item.name.endswith(_SUFFIX)))


def find(said: str) -> Dialect:
    """Return a dialect by its name, or from a file of one's own.

    Args:
        said: a shipped dialect's name, or a path: it has a slash, or ends with `.toml`.

    Raises:
        DialectError: there is none, or its file is not valid.
    """
    if said in names():
        return shipped(said)
    if "/" in said or said.endswith(_SUFFIX):
        path = Path(said).expanduser()
        try:
            return read(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DialectError(f"dialect file {path} cannot be read ({reason}); name another file") from None
    raise DialectError(
        f"unknown dialect '{said}'{did_you_mean(said, [AUTO, *names()])}; or write the path of a {_SUFFIX} file"
    )


@cache
def shipped(name: str) -> Dialect:
    """Return a dialect that is shipped, by its exact name."""
    return read((files("proxy.dialects") / f"{name}{_SUFFIX}").read_text(encoding="utf-8"), f"{name}{_SUFFIX}")


def read(text: str, source: str) -> Dialect:
    """Return what a dialect file says.

    Args:
        text: TOML.
        source: what the file is called in messages.

    Raises:
        DialectError: it is not TOML, or has unknown keys, wrong values or contradictions; a line for each mistake.
    """
    try:
        return Dialect.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise DialectError(f"dialect file {source} is not TOML: {error}") from None
    except ValidationError as error:
        said = (
            f"dialect file {source}: {'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors(include_url=False)
        )
        raise DialectError("\n".join(said)) from None
