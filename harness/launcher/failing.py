"""How a command of the harness ends: what went wrong on stderr, and the exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from harness.errors import ConfigurationError, HarnessError

FAILED, USAGE, SPOILT, INTERRUPTED = 1, 2, 3, 130


@contextmanager
def failing() -> Iterator[None]:
    """An error of the harness inside the block is told, and ends the command: 2 for wrong usage, else 1; 130 Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except HarnessError as error:
        say(Console(stderr=True), f"error: {error}")
        raise typer.Exit(USAGE if isinstance(error, ConfigurationError) else FAILED) from None


def say(console: Console, text: str) -> None:
    """Prints a text as it is: no markup, no colors, no breaks."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
