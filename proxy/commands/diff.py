"""`evalside log diff`: two exchanges, or two runs, side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import typer
from sqlite_utils import Database

from proxy.commands.failing import fail
from proxy.commands.opening import open_log, pass_of, whole_run
from proxy.commands.options import AsJson, ConfigFile, StoreUrl
from proxy.commands.tables import show_facts, show_rows
from proxy.store import reading, runs
from proxy.store.log_diff import exchanges_differ, runs_differ

_DIFFERENT = 1
"""Exit code, as of diff(1)."""
_WHAT = "ID of an exchange, or a run, {} (beginnings are enough); RUN@2 is a pass of it, else the latest."


def diff(
    one: Annotated[str, typer.Argument(help=_WHAT.format("to compare"))],
    other: Annotated[str, typer.Argument(help=_WHAT.format("to compare it with"))],
    *,
    config: ConfigFile = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Compare two exchanges, or two runs: which requests differ, and which answers. Exit code 1 where any does."""
    with open_log(config, store) as log:
        first, second = _named(log.db, one), _named(log.db, other)
        if isinstance(first, _Pass) and isinstance(second, _Pass):
            told = runs_differ(log.db, first, second)
            differs = told["differ"] + told["only_in_one"] + told["only_in_other"] > 0
        elif isinstance(first, str) and isinstance(second, str):
            rows = [reading.exchange_row(log.db, exchange) for exchange in (first, second)]
            assert rows[0] is not None
            assert rows[1] is not None
            told = {"one": first, "other": second, **exchanges_differ(rows[0], rows[1])}
            differs = bool(told["request"] or told["answer"])
        else:
            fail(f"'{one}' and '{other}' cannot be compared: one is a run and one an exchange; name two of a kind")
    if as_json:
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
    elif isinstance(first, _Pass):
        _show_runs(told)
    else:
        _show_exchanges(told)
    if differs:
        raise typer.Exit(_DIFFERENT)


class _Pass(NamedTuple):
    """A pass of a run."""

    run: str
    number: int


def _named(db: Database, text: str) -> _Pass | str:
    """Return the pass or the exchange that is named, by its whole name or by a beginning that is nothing else's."""
    name, at, number = text.partition("@")
    if at and not number.isdecimal():
        fail(f"'{text}': what follows the @ is no number of a pass; write it like {name}@0")
    if at or runs.exists(db, name):
        run = whole_run(db, name)
        return _Pass(run, pass_of(db, run, int(number) if at else None))
    found = reading.exchange_ids(db, text, limit=2)
    if text in found:
        return text
    named = runs.beginning(db, text, limit=2)
    if not found and not named:
        fail(f"'{text}' is neither a run nor the ID of a logged exchange; 'evalside log ls' lists both")
    if len(found) + len(named) > 1:
        fail(f"several begin with '{text}' ({', '.join([*named, *found])}, …); write more of it")
    return found[0] if found else _Pass(named[0], pass_of(db, named[0], None))


def _show_exchanges(told: Mapping[str, Any]) -> None:
    request, answer = told["request"], told["answer"]
    if told["facts"]:
        _show_fields(told, told["facts"])
    if request:
        _show_fields(told, request)
    show_facts(
        {
            "requests": "not logged" if request is None else f"differ in {len(request)} fields" if request else "same",
            "answers": "not logged" if answer is None else f"differ in {', '.join(answer)}" if answer else "same",
        }
    )


def _show_fields(told: Mapping[str, Any], fields: list[dict[str, Any]]) -> None:
    rows = [[item["field"], *(item[name] or "absent" for name in ("asked", "stored"))] for item in fields]
    show_rows(["field", told["one"], told["other"]], rows)


def _show_runs(told: Mapping[str, Any]) -> None:
    one, other = (f"{told[side]['run']}@{told[side]['pass']}" for side in ("one", "other"))
    counts = {
        f"requests of {one}": told["one"]["requests"],
        f"requests of {other}": told["other"]["requests"],
        "asked by both": told["both"],
        "with the same answer": told["same"],
        "with another answer": told["differ"],
        f"only in {one}": told["only_in_one"],
        f"only in {other}": told["only_in_other"],
        "answers not logged": told["not_logged"] or "",
        "requests not logged": told["unlogged_requests"] or "",
    }
    show_facts({name: f"{count:,}" if count != "" else "" for name, count in counts.items()})
    for name in ("differ_in", "fields"):
        if told[name]:
            heading = "answers differ in" if name == "differ_in" else "requests for one prompt differ in"
            show_rows([heading, "how many"], [[what, count] for what, count in told[name].items()])
    if told["examples"]:
        rows = [[item["one"], item["other"], item["in"]] for item in told["examples"]]
        show_rows([one, other, "differ in"], rows)
