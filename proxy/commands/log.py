"""`evalside log`: what was asked and answered, and what was changed on the way, from the store's files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from proxy.commands.diff import diff
from proxy.commands.failing import fail
from proxy.commands.ids import whole_id
from proxy.commands.opening import open_log, pass_of, whole_run
from proxy.commands.options import AsJson, ConfigFile, StoreUrl
from proxy.commands.tables import milliseconds, moment, show_facts, show_rows, show_text
from proxy.store import changes, reading
from proxy.store.log_export import export_log

log_app = typer.Typer(
    name="log",
    help="Look at logged exchanges, and at what interceptors changed in them.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)

_BODIES = ("request_body", "sent_body", "response_body")
_VERBS = {"added": "added to", "removed": "dropped from", "changed": "changed in", "reordered": "reordered in"}


@log_app.command("ls")
def ls_command(  # noqa: PLR0913 - one parameter for each option
    *,
    run: Annotated[str | None, typer.Option("--run", help="Only of this run.")] = None,
    status: Annotated[int | None, typer.Option(help="Only answers with this status.")] = None,
    cache: Annotated[str | None, typer.Option(help="Only hit, miss, coalesced, bypass or off.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    config: ConfigFile = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """List exchanges, newest first."""
    with open_log(config, store) as log:
        wanted = reading.Filter(None if run is None else whole_run(log.db, run), status, cache)
        found = reading.exchanges(log.db, wanted, limit=limit, cursor=None)["items"]
    if as_json:
        _print_json(found)
        return
    names = ["id", "run", "path", "status", "cache", "outcome", "error"]
    show_rows(
        ["at", *names, "ms"],
        [
            [moment(item["started_at"]), *(item[name] for name in names), milliseconds(item["duration_ms"])]
            for item in found
        ],
    )


@log_app.command("show")
def show_command(
    exchange: Annotated[str, typer.Argument(help="ID of an exchange, or its beginning.")],
    *,
    config: ConfigFile = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show one exchange: facts, what was changed, headers and bodies."""
    with open_log(config, store) as log:
        unknown = f"there is no exchange '{exchange}' in the log; 'evalside log ls' lists them"
        found = reading.exchange(log.db, whole_id(log.db, exchange, unknown=unknown))
    assert found is not None, "its ID has just been found"
    if as_json:
        _print_json(found)
        return
    longer = {*_BODIES, "request_headers", "response_headers", "changes", "started_at"}
    facts = {
        name: milliseconds(value) if name.endswith("_ms") else value
        for name, value in found.items()
        if name not in longer
    }
    show_facts({"at": moment(found["started_at"]), **facts})
    if found["changes"]:
        show_rows(["interceptor", "on", "field", "from", "to", "why", "times"], map(_change, found["changes"]))
    for name in ("request_headers", "response_headers"):
        show_text(name, "\n".join(f"{key}: {value}" for key, value in found[name] or []))
    for name in _BODIES:
        if found[name] is not None:
            show_text(name, found[name])


@log_app.command("changes")
def changes_command(
    run: Annotated[str, typer.Argument(help="A run; requests that named none are in 'default'.")],
    *,
    number: Annotated[int | None, typer.Option("--pass", min=0, help="A pass of it, from 0; else the latest.")] = None,
    config: ConfigFile = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Count what interceptors changed in a run's requests and answers."""
    with open_log(config, store) as log:
        run = whole_run(log.db, run)
        found = changes.of_run(log.db, run, pass_of(log.db, run, number))
    if as_json:
        _print_json(found)
    elif not found:
        typer.echo(f"nothing was changed in run '{run}'")
    else:
        for change in found:
            typer.echo(_told(change))


@log_app.command("export")
def export_command(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; it is replaced if it exists.")],
    run: Annotated[str | None, typer.Option("--run", help="Only of this run; without it, everything.")] = None,
    number: Annotated[int | None, typer.Option("--pass", min=0, help="Only of this pass of it, from 0.")] = None,
    config: ConfigFile = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write exchanges as lines of JSON: each request with what the client got, and the facts of both."""
    if number is not None and run is None:
        fail(f"--pass {number} is a pass of a run; name it with --run")
    with open_log(config, store) as log:
        named = None if run is None else whole_run(log.db, run)
        if named is not None and number is not None:
            pass_of(log.db, named, number)
        count = export_log(
            log.scope.log, output, run=named, number=number, saved=log.scope.saved, redactor=log.scope.redactor
        )
    facts = {"file": str(output), "run": named, "exchanges": count}
    if as_json:
        _print_json(facts)
    else:
        show_facts(facts)


log_app.command("diff")(diff)


def _told(change: Mapping[str, Any]) -> str:
    """Return a line such as `seed dropped from 1,319 of 1,319 requests (payload_modifier: configured)`."""
    count, of = f"{change['requests']:,}", f"{change['of']:,}"
    side = "requests" if change["on"] == "request" else "answers"
    verb = _VERBS[change["what"]]
    return f"{change['field']} {verb} {count} of {of} {side} ({change['interceptor']}: {change['why']})"


def _change(entry: Mapping[str, Any]) -> list[str]:
    sides = [_side(entry, name) for name in ("from", "to")]
    return [entry["interceptor"], entry["on"], entry["field"], *sides, entry["why"], str(entry["times"])]


def _side(entry: Mapping[str, Any], name: str) -> str:
    cut = entry.get(f"{name}_hash")
    if cut is not None:
        return f"{cut['bytes']} bytes, sha256 {cut['sha256'][:12]}…"
    return json.dumps(entry[name], ensure_ascii=False) if name in entry else "absent"


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
