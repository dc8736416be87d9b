"""`evalside cache`: what is in the cache, and ways in and out of it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from proxy.cache.place import NotCacheable, place_of
from proxy.commands.failing import fail, failing
from proxy.commands.options import AsJson, ConfigFile, StoreUrl
from proxy.commands.scope import Scope, read_scope
from proxy.commands.tables import show_entry, show_facts, show_list, show_stats, show_text, size
from proxy.core.http import Payload, Request
from proxy.store.bundle.choice import named
from proxy.store.bundle.exporting import export_pairs, export_run
from proxy.store.bundle.importing import import_bundle
from proxy.store.bundle.manifest import Manifest
from proxy.store.bundle.profiles import adopt_apart
from proxy.store.inventory import Prune, entries, entry, prunable, prune, stats
from proxy.store.reading import reading
from proxy.wire import routes

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_BYTES = {unit: 1000**power for power, unit in enumerate(["b", "kb", "mb", "gb", "tb"])} | {
    unit: 1024**power for power, unit in enumerate(["kib", "mib", "gib", "tib"], start=1)
}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)")
_STDIN = "-"
_NAMED = 3
"""Model servers that are named in a question."""

cache_app = typer.Typer(
    name="cache",
    help="Look into the cache, carry runs to other machines, and delete what is not needed.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


def _amount(units: dict[str, int], example: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        match = _AMOUNT.fullmatch(text.strip())
        unit = match[2].lower() if match else ""
        if match is None or unit not in units:
            raise typer.BadParameter(
                f"'{text}' is not a number with one of {', '.join(units)}; write it like {example}"
            )
        return float(match[1]) * units[unit]

    return parse


RunName = Annotated[
    str | None, typer.Option("--run", help="A run (the beginning of its name is enough); without it, everything.")
]


@cache_app.command("stats")
def stats_command(config: ConfigFile = None, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Count what is there: by route, model server and run, with hits served and losses."""
    with failing():
        with reading(read_scope(config, store).ready()) as db:
            found = stats(db)
        if as_json:
            _print_json(found)
        else:
            show_stats(found)


@cache_app.command("ls")
def ls_command(
    *,
    run: RunName = None,
    route: Annotated[str | None, typer.Option(help="Only answers of this route, for example chat.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    config: ConfigFile = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """List answers, newest first."""
    known = sorted(set(routes.PIPELINE.values()))
    if route is not None and route not in known:
        fail(f"--route '{route}' is none; there are {', '.join(known)}")
    with failing():
        with reading(read_scope(config, store).ready()) as db:
            chosen = None if run is None else named(db.conn, run)
            found = entries(db, run=chosen, route=route, limit=limit)
        if as_json:
            _print_json(found)
        else:
            show_list(found)


@cache_app.command("show")
def show_command(
    key: Annotated[str, typer.Argument(help="Key of an answer, or its first digits.")],
    *,
    body: Annotated[bool, typer.Option("--body", help="Show request and answer whole.")] = False,
    config: ConfigFile = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show every answer kept under a key: facts, request and answer."""
    with failing():
        with reading(read_scope(config, store).ready()) as db:
            found = entry(db, key)
        if as_json:
            _print_json(
                found if body else [{k: v for k, v in item.items() if k not in {"request", "body"}} for item in found]
            )
        else:
            for item in found:
                show_entry(item, whole=body)


@cache_app.command("key")
def key_command(
    file: Annotated[str, typer.Argument(help="File with a request body as it goes to the model server; - is stdin.")],
    *,
    path: Annotated[str, typer.Option(help="Path that the body is posted to.")] = "/v1/chat/completions",
    identity: Annotated[
        str | None, typer.Option(help="Identity of the model server; without it, the namespace, else the URL.")
    ] = None,
    config: ConfigFile = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Print the key of a request without key headers, its canonical form, and whether the cache would take it."""
    with failing():
        scope = read_scope(config, store)
        route, full = routes.match("POST", path.encode())
        if route is None:
            fail(f"--path '{path}' runs no pipeline; there are {', '.join(map(bytes.decode, routes.PIPELINE))}")
        name, note = _identity(scope, identity)
        request = Request("POST", full, b"", [], Payload(_read(file)))
        facts: dict[str, Any] = {"route": route, "path": full.decode(), "identity": name, "note": note}
        try:
            place = place_of(request, route, scope.rules)
        except NotCacheable as error:
            facts |= {"cache": "bypass", "why": str(error), "key": None}
            text = None
        else:
            facts |= {
                "cache": "deterministic" if place.deterministic else "sampled",
                "why": _why(route, request.body, scope, deterministic=place.deterministic),
                "key": place.key(name).hex(),
            }
            text = place.request.decode()
        if as_json:
            _print_json({**facts, "canonical": text})
        else:
            show_facts(facts)
            if text is not None:
                show_text("canonical form", text)


@cache_app.command("export")
def export_command(  # noqa: PLR0913 - one parameter for each option
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; it is replaced if it exists.")],
    run: RunName = None,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Write requests and answers as lines of JSON, to read and not to import.")
    ] = False,
    capabilities: Annotated[
        Path | None, typer.Option(help="A capability profile (evalside probe) to freeze in the bundle; a JSON file.")
    ] = None,
    config: ConfigFile = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's answers to one file: a bundle that other sidecars import or replay."""
    with failing():
        scope = read_scope(config, store)
        profile = None if capabilities is None else scope.redactor.document(_profile(capabilities))
        if jsonl and profile is not None:
            fail("--capabilities is a part of a bundle, and --jsonl writes none; leave one of them out")
        database = scope.ready()
        if run is not None:
            with reading(database) as db:
                run = named(db.conn, run)
        if jsonl:
            facts = {
                "file": str(output),
                "run": run,
                "pairs": export_pairs(database, run, output, saved=scope.saved, redactor=scope.redactor),
            }
        else:
            manifest = export_run(
                database, run, output, pipeline=scope.pipeline(), capabilities=profile, memory=scope.log
            )
            facts = {"file": str(output), "run": run, **manifest.counts.model_dump(), "checksum": manifest.checksum}
        _print_facts(facts, as_json=as_json)


@cache_app.command("import")
def import_command(  # noqa: PLR0913 - one parameter for each option
    file: Annotated[Path, typer.Argument(help="A bundle; everything in it is checked first.")],
    *,
    as_run: Annotated[str | None, typer.Option("--as", help="Name for its run, where its own is taken.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check it, say what would be added, add nothing.")] = False,
    trust: Annotated[bool, typer.Option("--trust", help="Do not ask whether you trust who made it.")] = False,
    config: ConfigFile = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Add a bundle's answers to the cache: all of them, or with any mistake in the file none."""
    with failing():
        scope = read_scope(config, store)
        consent = None if dry_run or trust else partial(_ask_for_trust, file)
        done = import_bundle(scope.ready(make=True), file, run=as_run, dry_run=dry_run, consent=consent)
        if scope.log != scope.database and not dry_run:
            scope.ready_log()
            adopt_apart(scope.log, dict.fromkeys(done.runs, done.manifest.run), done.manifest.profiles)
        facts = {
            "file": str(file),
            "runs": list(done.runs),
            "added": done.added,
            "already_there": done.present,
            "dry_run": dry_run,
        }
        _print_facts(facts, as_json=as_json)


@cache_app.command("prune")
def prune_command(  # noqa: PLR0913 - one parameter for each option
    *,
    run: Annotated[str | None, typer.Option("--run", help="This run, with its samples, log and counts.")] = None,
    older_than: Annotated[
        float | None,
        typer.Option(parser=_amount(_SECONDS, "30d"), metavar="AGE", help="Answers older than this, for example 30d."),
    ] = None,
    max_size: Annotated[
        float | None,
        typer.Option(
            parser=_amount(_BYTES, "2GB"), metavar="SIZE", help="The oldest until the others fit, for example 2GB."
        ),
    ] = None,
    identity: Annotated[str | None, typer.Option(help="Answers of this model server.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, delete nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigFile = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Delete answers; a running sidecar goes on. --older-than and --identity together mean both."""
    ways = [run is not None, max_size is not None, older_than is not None or identity is not None]
    if sum(ways) != 1:
        fail("say what to delete: --run, or --max-size, or --older-than and --identity; one of these three ways")
    wanted = Prune(run, older_than, identity, None if max_size is None else int(max_size))
    with failing():
        database = read_scope(config, store).ready()
        found = prunable(database, wanted)
        if not dry_run and not yes:
            what = f"{found.entries} answers ({size(found.bytes)}) and {found.exchanges} log rows"
            typer.confirm(f"Delete {what} from {database}?", abort=True, err=True)
        if not dry_run:
            found = prune(database, wanted)
        facts = {"answers": found.entries, "bytes": found.bytes, "log_rows": found.exchanges, "deleted": not dry_run}
        _print_facts(facts, as_json=as_json)


def _ask_for_trust(file: Path, manifest: Manifest) -> None:
    """Ask whether what is in a bundle may be served; without an answer it may not."""
    names = [identity.name for identity in manifest.identities]
    servers = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    run = "every run of a store" if manifest.run is None else f"run '{manifest.run}'"
    typer.confirm(
        f"{file} holds {run}, checksum {manifest.checksum[:12]}. Nothing proves who made it, and its"
        f" {manifest.counts.deterministic} deterministic answers will be served to everyone who asks {servers} the"
        " same. Do you trust it? (--trust says yes)",
        abort=True,
        err=True,
    )


def _identity(scope: Scope, given: str | None) -> tuple[str, str]:
    """Return the identity to take a key with, and what is to be said about it."""
    if given is not None:
        return given, ""
    if scope.namespace is not None:
        return scope.namespace, ""
    if scope.upstream_url is None:
        fail("no model server is configured, and its identity is part of the key; name one with --identity")
    return scope.upstream_url, "the sidecar's own keys depend on the probed identity; give it with --identity"


def _why(route: str, body: Payload, scope: Scope, *, deterministic: bool) -> str:
    if route not in routes.SAMPLING:
        return f"route '{route}' has no sampling"
    if deterministic:
        return "temperature is 0"
    if not scope.rules.deterministic:
        return "caching has deterministic: never"
    if "temperature" not in body.json:
        return "there is no temperature"
    return f"temperature is {json.dumps(body.json['temperature'])}, and only the number 0 is deterministic"


def _profile(file: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(_read(str(file)))
    except orjson.JSONDecodeError as error:
        fail(f"--capabilities '{file}' is not JSON ({error}); name a file that evalside probe wrote")
    if not isinstance(found, dict):
        fail(f"--capabilities '{file}' is not a JSON object; name a file that evalside probe wrote")
    return found


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == _STDIN else Path(file).read_bytes()
    except OSError as error:
        fail(f"'{file}' cannot be read ({error.strerror}); name a file with a request body, or - for stdin")


def _print_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        _print_json(facts)
    else:
        show_facts(facts)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
