"""The cache's contents as tables for people."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

_PREVIEW = 300
"""Characters of a body."""
_SHORT_KEY = 12
_FILE_WIDTH = 1000
"""Characters of a line where no screen limits it: a file or a pipe gets every cell on one line."""


def show_stats(found: Mapping[str, Any]) -> None:
    """Print what `inventory.stats` found."""
    show_facts(
        {
            "answers": found["entries"],
            "size": size(found["bytes"]),
            "deterministic": found["pooled"],
            "sampled": found["sampled"],
            "oldest": moment(found["oldest"]),
            "newest": moment(found["newest"]),
            "unconfirmed": found["unconfirmed"],
            "asked": found["asked"],
            "hits_served": found["served"],
            **found["losses"],
        }
    )
    for column, group in (("route", "routes"), ("identity", "identities")):
        show_rows(
            [column, "answers", "size"], [[row[column], row["entries"], size(row["bytes"])] for row in found[group]]
        )
    names = ["run", "source", "pass", "imported", "samples", "asked", "served"]
    show_rows(names, [[row[name] for name in names] for row in found["runs"]])


def show_list(found: Sequence[Mapping[str, Any]]) -> None:
    """Print what `inventory.entries` found."""
    show_rows(
        ["key", "route", "shape", "pool", "sample", "run", "size", "created"],
        [
            [
                item["key"][:_SHORT_KEY],
                item["route"],
                item["shape"],
                item["pool"] or "deterministic",
                item["sample"],
                item["run"],
                size(item["size"]),
                moment(item["created_at"]),
            ]
            for item in found
        ],
    )


def show_entry(item: Mapping[str, Any], *, whole: bool) -> None:
    """Print one answer of `inventory.entry`, its bodies whole or their beginnings."""
    show_facts(
        {
            **{name: item[name] for name in ("key", "route", "shape", "run", "identity", "status", "sample")},
            "pool": item["pool"] or "deterministic",
            "created": moment(item["created_at"]),
            "upstream_ms": milliseconds(item["upstream_ms"]),
            "size": size(item["size"]),
            "headers": "\n".join(f"{name}: {value}" for name, value in item["headers"]),
        }
    )
    for name, text in (("request", item["request"]), ("answer", item["body"])):
        show_text(name, text if whole else _beginning(text))


def show_facts(facts: Mapping[str, Any]) -> None:
    """Print names and values, one below the other; what is empty is left out."""
    table = Table.grid("", "", padding=(0, 2))
    for name, value in facts.items():
        if value != "":
            table.add_row(name.replace("_", " "), printable(value))
    console().print(table)


def show_rows(names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    table = Table(*names, box=box.SIMPLE)
    for row in rows:
        table.add_row(*map(printable, row))
    console().print(table)


def show_text(name: str, text: str) -> None:
    """Print a long text below its name, its lines as they are."""
    console().print(f"\n{name}:\n{printable(text)}")


def size(count: int) -> str:
    """Return a number of bytes for people."""
    return decimal(count)


def milliseconds(value: float | None) -> str:
    """Return a span of time for people."""
    return "" if value is None else f"{value:.1f}"


def moment(seconds: float | None) -> str:
    """Return a time for people."""
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))


def console() -> Console:
    """Return where tables are printed: the screen at its width, a file or a pipe at any."""
    out = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    if not out.is_terminal:
        out.width = _FILE_WIDTH
    return out


def _beginning(text: str) -> str:
    return text if len(text) <= _PREVIEW else f"{text[:_PREVIEW]}… ({len(text)} characters; --body shows them all)"


def printable(value: object) -> str:
    """Return text that no terminal takes for a command: answers come from outside."""
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    if isinstance(value, list):
        return ", ".join(map(printable, value))
    text = str(value)
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)
