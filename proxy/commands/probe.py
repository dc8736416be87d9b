"""`evalside probe`: what an endpoint can do, before GPU hours are spent on it."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from proxy.commands.failing import fail, failing
from proxy.commands.options import AsJson, ConfigFile
from proxy.commands.probe_report import show
from proxy.commands.tables import printable
from proxy.core.nearest import did_you_mean
from proxy.core.redact import Redactor
from proxy.probing.asker import Endpoint
from proxy.probing.probe import Probed, Wanted, usable
from proxy.probing.probe import probe as probe_endpoint
from proxy.probing.reach import Unreachable
from proxy.probing.table import ROUTES
from proxy.settings import ConfigError, load_settings, secret
from proxy.upstream.address import parse_address
from proxy.upstream.transport import AiohttpTransport
from proxy.wire.profile import Profile, write_profile

FOLDER = Path(".evalside") / "profiles"
"""Where profiles are kept, below the working directory."""
_UNUSABLE = 1


def probe(  # noqa: PLR0913 - one parameter for each option
    *,
    upstream: Annotated[
        str | None, typer.Option("--upstream", "-u", help="The model server: origin, …/v1 or a full endpoint URL.")
    ] = None,
    config: ConfigFile = None,
    model: Annotated[str | None, typer.Option(help="The model to ask; the first that the server lists.")] = None,
    api_key_name: Annotated[str | None, typer.Option(help="Name of the variable with the model server's key.")] = None,
    route: Annotated[
        list[str] | None, typer.Option(help=f"Only checks of this route: {', '.join(ROUTES)}. May be given again.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one request may take.")] = 60.0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help=f"File of the profile; one below {FOLDER} without it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find out by real requests what an endpoint can do; exit code 1 if nothing can be evaluated with it."""
    given = {"url": upstream, "model_id": model, "api_key_name": api_key_name}
    with failing():
        wanted, key = _wanted({name: value for name, value in given.items() if value is not None}, config, timeout)
    wanted = _restricted(wanted, route)
    notes = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    try:
        found = asyncio.run(_probed(wanted, notes))
    except Unreachable as error:
        notes.print(printable(f"error: {Redactor([key]).text(str(error))}"), style="red")
        raise typer.Exit(_UNUSABLE) from None
    path = output if output is not None else FOLDER / file_name(found.profile)
    raw = write_profile(found.profile)
    _write(path, raw)
    _tell(found, path, notes, raw if as_json else None)


def file_name(profile: Profile) -> str:
    """Return the name of a profile's file: host, port and model, with nothing that a file system minds."""
    place = profile.url.partition("://")[2].removesuffix("/v1")
    parts = [place, *([profile.model] if profile.model else [])]
    return "-".join(re.sub(r"[^A-Za-z0-9._]+", "-", part).strip("-.") for part in parts)[:180] + ".json"


def _wanted(upstream: dict[str, str], config: Path | None, timeout: float) -> tuple[Wanted, str | None]:
    settings = load_settings(config, {"upstream": upstream} if upstream else {}).upstream
    key = secret(settings.api_key_name, "upstream.api_key_name")
    try:
        address = parse_address(settings.url)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    endpoint = Endpoint(address, key, timeout)
    return Wanted(endpoint, settings.model_id, ROUTES, settings.namespace, settings.canary), key


def _restricted(wanted: Wanted, chosen: list[str] | None) -> Wanted:
    for name in chosen or ():
        if name not in ROUTES:
            fail(f"--route: there is no route '{name}'{did_you_mean(name, ROUTES)}")
    return replace(wanted, routes=tuple(chosen)) if chosen else wanted


async def _probed(wanted: Wanted, notes: Console) -> Probed:
    with Progress(console=notes, transient=True, disable=not notes.is_terminal) as bar:
        task = bar.add_task("probing", total=None)

        def advance(done: int, total: int, what: str) -> None:
            _advance(bar, task, done, total, what)

        async with AiohttpTransport() as transport:
            return await probe_endpoint(transport, wanted, advance)


def _advance(bar: Progress, task: TaskID, done: int, total: int, what: str) -> None:
    bar.update(task, completed=done, total=total, description=what)


def _write(path: Path, raw: bytes) -> None:
    """Write the profile so that only its owner reads it: it tells hosts and models."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(raw)
    except OSError as error:
        fail(f"the profile cannot be written to '{path}' ({error.strerror}); name another file with -o")


def _tell(found: Probed, path: Path, notes: Console, raw: bytes | None) -> None:
    """Print what was found, or its JSON, and end with the exit code that it deserves."""
    if raw is not None:
        typer.echo(raw.decode(), nl=False)
    else:
        show(found.profile)
    if found.others:
        notes.print(printable(f"the server lists other models too ({', '.join(found.others)}); --model asks another"))
    notes.print(f"the profile is in {path}")
    reason = usable(found.profile)
    if reason:
        notes.print(printable(f"error: nothing can be evaluated here: {reason}"), style="red")
        raise typer.Exit(_UNUSABLE)
