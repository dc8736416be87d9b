"""Tables of the harness's commands: what a narrow screen cannot hold on one line is folded, never cut off."""

from rich.console import Console
from rich.table import Table

FILE_WIDTH = 1000
"""Characters of a line where no screen limits it: a file or a pipe gets every row on one line."""


def table(*names: str) -> Table:
    """An empty table with these columns."""
    made = Table()
    for name in names:
        made.add_column(name, overflow="fold")
    return made


def screen() -> Console:
    """Where tables are printed: the screen at its width, a file or a pipe at any."""
    console = Console()
    if not console.is_terminal:
        console.width = FILE_WIDTH
    return console
