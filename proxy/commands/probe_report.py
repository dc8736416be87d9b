"""What a probe found, as tables for people."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.commands.tables import console, printable
from proxy.probing.check import NEEDS, Check
from proxy.probing.checks.server import SERVER
from proxy.probing.table import CHECKS, ROUTES
from proxy.wire.profile import Capability, Profile, Verdict

_STYLES = {
    Verdict.SUPPORTED: "green",
    Verdict.IGNORED: "yellow",
    Verdict.REJECTED: "yellow",
    Verdict.WRONG: "bold red",
    Verdict.UNKNOWN: "dim",
}

_NAMES = max(len(check.what) for check in CHECKS.values())
_VERDICTS = max(map(len, Verdict))
"""Widths of columns, the same for all routes."""


def show(profile: Profile) -> None:
    """Print one line for each capability, by route, and one for each kind of task."""
    out = console()
    model = profile.model or "no model named"
    context = f"{profile.context_length:,} tokens of context" if profile.context_length else "context length unknown"
    reasoning = f", reasoning in {profile.reasoning_field}" if profile.reasoning_field else ""
    out.print(printable(f"{profile.url}: {profile.server}, {model}, {context}{reasoning}"))
    for route in ROUTES:
        checks = [check for check in CHECKS.values() if check.route == route and check.name in profile.capabilities]
        if checks:
            _show_route(route, checks, profile, out)
    _show_tasks(profile, out)
    out.print(_counts(profile))


def _show_route(route: str, checks: list[Check], profile: Profile, out: Console) -> None:
    table = Table(box=box.SIMPLE, expand=out.is_terminal)
    table.add_column(route, min_width=_NAMES)
    table.add_column("verdict", min_width=_VERDICTS)
    table.add_column("what to do, and what was seen", ratio=1, no_wrap=True, overflow="ellipsis")  # one line each
    for check in checks:
        found = profile.capability(check.name)
        table.add_row(check.what, _verdict(check, found), _told(check, found))
    out.print(table)


def _told(check: Check, found: Capability) -> Text:
    """Return advice first, because what does not fit a screen is cut; the evidence alone where all is well."""
    advice = _advice(check, found)
    told = Text(f"{advice}: " if advice else "")
    return told.append(printable(found.evidence), "dim" if advice else "")


def _verdict(check: Check, found: Capability) -> Text:
    style = "green" if found.verdict in check.fine and found.verdict is not Verdict.UNKNOWN else _STYLES[found.verdict]
    return Text(found.verdict, style=style)


def _advice(check: Check, found: Capability) -> str:
    """Return what to do, and for whose sake; nothing where all is well."""
    advice = check.advice.get(found.verdict, "")
    needed = found.needed_by if found.verdict not in check.fine and found.verdict is not Verdict.UNKNOWN else ()
    return f"{advice} (needed by {', '.join(needed)})" if advice and needed else advice


def _show_tasks(profile: Profile, out: Console) -> None:
    table = Table("tasks", "", "why not, by route", box=box.SIMPLE)
    for kind in NEEDS:
        routes = [
            route
            for route in ROUTES
            if route != SERVER and profile.verdict(f"{route}.works") is not Verdict.UNKNOWN and _needs(kind, route)
        ]
        missing = {route: list(profile.missing(kind, route)) for route in routes}
        possible = [route for route in routes if not missing[route]]
        if routes:
            why = "; ".join(f"{route}: {_missed(route, names)}" for route, names in missing.items() if names)
            said = Text(", ".join(possible), "green") if possible else Text("no", "yellow")
            table.add_row(kind, said, Text(why))
    if table.row_count:
        out.print(table)


def _needs(kind: str, route: str) -> bool:
    return any(check.route == route and kind in check.needed_by for check in CHECKS.values())


def _missed(route: str, names: list[str]) -> str:
    return ", ".join(name.removeprefix(f"{route}.") for name in names)


def _counts(profile: Profile) -> str:
    counts = {verdict: len(profile.found(verdict)) for verdict in Verdict}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
