"""How a command says what is wrong: an error line and an exit code, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from proxy.core.errors import ProxyError
from proxy.settings import ConfigError
from proxy.store.base import StoreError

_BAD_USAGE = 2


def fail(message: str) -> NoReturn:
    """End the command with exit code 2, each line of the message on stderr."""
    for line in message.splitlines():
        typer.secho(f"error: {line}", fg="red", err=True)
    raise typer.Exit(_BAD_USAGE)


@contextmanager
def failing() -> Iterator[None]:
    """Fail with the message of what is wrong with configuration, store or request."""
    try:
        yield
    except (ConfigError, StoreError, ProxyError) as error:
        fail(str(error))
