"""The `evalside` command."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
import uvicorn
from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy import __version__
from proxy.commands.cache import cache_app
from proxy.commands.failing import fail, failing
from proxy.commands.log import log_app
from proxy.commands.options import ConfigFile
from proxy.commands.probe import probe
from proxy.commands.supervisor import Supervisor
from proxy.commands.why import why
from proxy.edge.gate import is_loopback
from proxy.house import Plan, describe, make_plan
from proxy.replay import STORE, rewind, temporary_folder
from proxy.settings import CONFIG_VARIABLE, PREFIX, load_settings
from proxy.store.bundle.checking import read_manifest
from proxy.store.sqlite import SqliteStore

COMMANDS = "evalside.commands"
"""Entry point group for sub-commands of other packages; each entry is a function for Typer, or a Typer of its own."""

_GRACE = 5
"""Seconds that running answers have at shutdown."""
_KEEP_ALIVE = 120
"""Seconds an idle connection stays open: longer than clients keep theirs, or they send into one that is closing."""
_INTERNET = frozenset({socket.AF_INET, socket.AF_INET6})

app = typer.Typer(
    name="evalside",
    help="A sidecar between LLM benchmark harnesses and model servers: cached, logged, reproducible.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold keys
)

app.add_typer(cache_app)
app.add_typer(log_app)
cache_app.command()(why)
app.command()(probe)

UpstreamUrl = Annotated[
    str | None, typer.Option("--upstream", "-u", help="The model server: origin, …/v1 or a full endpoint URL.")
]
Bundle = Annotated[
    Path | None,
    typer.Option("--replay", help="A bundle (evalside cache export) to replay in place of a model server."),
]


@app.command()
def serve(  # noqa: PLR0913 - one parameter for each option
    *,
    upstream: UpstreamUrl = None,
    config: ConfigFile = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond loopback it needs a client token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")] = 4000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the port and the store.")] = 1,
    fd: Annotated[
        int | None, typer.Option(min=0, help="An inherited listening socket, instead of host and port.")
    ] = None,
    replay: Bundle = None,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="Stop when standard input ends: who started it is gone.")
    ] = False,
) -> None:
    """Run the sidecar in front of a model server."""
    if with_parent:
        threading.Thread(target=_stop_at_end_of_input, name="parent watch", daemon=True).start()
    # Workers are new processes that load their settings themselves: flags reach them as the environment they outrank.
    given = {f"{PREFIX}UPSTREAM__URL": upstream, CONFIG_VARIABLE: config, f"{PREFIX}REPLAY": replay}
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})
    plan = _plan(upstream, config, replay)
    inherited = _inherited(fd) if fd is not None else None
    if inherited is not None:
        host = str(inherited.getsockname()[0]) if inherited.family in _INTERNET else "localhost"
    if not is_loopback(host) and plan.token is None and not plan.settings.auth.anonymous:
        fail(
            f"{host} is reachable from other machines and no client token is configured; set auth.token_name"
            f" ({PREFIX}AUTH__TOKEN_NAME) or, knowingly, auth.anonymous: true"
        )
    with ExitStack() as stack:
        plan = _begin_replay(plan, stack)
        _check_store(plan)
        listener = inherited or _listen(host, port)
        _refuse_loop(listener, plan)
        _serve(listener, plan, workers)


def _serve(listener: socket.socket, plan: Plan, workers: int) -> None:
    """Serve until a signal ends it."""
    listener.setblocking(False)
    listener.set_inheritable(True)
    server_config = uvicorn.Config(
        "proxy.app:app",
        workers=workers,
        access_log=False,
        log_level="warning",
        proxy_headers=False,  # nothing looks at who the client is
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_GRACE,
    )
    _announce(listener, plan)
    if workers == 1:
        server = uvicorn.Server(server_config)
        server.run(sockets=[listener])
        started = server.started
    else:
        supervisor = Supervisor(server_config, [listener])
        supervisor.run()
        started = not supervisor.cannot_start
    if not started:
        raise typer.Exit(3)


@app.command()
def check(upstream: UpstreamUrl = None, config: ConfigFile = None, replay: Bundle = None) -> None:
    """Validate the configuration and print the effective pipeline; exit code 2 if it is wrong."""
    plan = _plan(upstream, config, replay)
    if plan.settings.replay is not None:
        with failing():
            read_manifest(plan.settings.replay.expanduser())
    described = describe(plan)
    table = Table(
        "#", "interceptor", "layer", "options", title=f"Pipeline {described['fingerprint']}", title_justify="left"
    )
    for number, stage in enumerate(described["pipeline"], start=1):
        options = Text(json.dumps(stage["config"], ensure_ascii=False) if stage["config"] else "")
        table.add_row(str(number), stage["name"], stage["layer"], options)
    out = Console(soft_wrap=True, highlight=False)
    for note in plan.notes:
        typer.secho(f"note: {note}", fg=typer.colors.YELLOW, err=True)
    out.print(f"upstream  {_behind(plan)}")
    out.print(f"store     {_kept(plan, described['settings']['store'])}")
    if described["pipeline"]:
        out.print(table)
    else:
        out.print("pipeline  none: a pure relay")


@app.command("mock-server")
def mock_server(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    model: Annotated[str, typer.Option(help="Name of the model it claims to serve.")] = "mock-model",
    latency: Annotated[float, typer.Option(min=0, help="Seconds before the first byte of an answer.")] = 0.0,
    tokens_per_second: Annotated[
        float | None, typer.Option(min=0.001, help="Pace of generation; as fast as it can.")
    ] = None,
    api_key_name: Annotated[str | None, typer.Option(help="Variable with a key that clients must send.")] = None,
) -> None:
    """Run a model server without a model, to try a harness or this sidecar against."""
    from proxy.testing.cli import serve as serve_mock  # noqa: PLC0415 - the test kit is no part of the sidecar

    api_key = os.environ.get(api_key_name) if api_key_name else None
    if api_key_name and not api_key:
        fail(f"--api-key-name: the environment variable '{api_key_name}' is not set")
    serve_mock(port=port, host=host, model=model, latency=latency, tokens_per_second=tokens_per_second, api_key=api_key)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"evalside {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit.")
    ] = False,
) -> None:
    """Options of every command."""


def _plan(upstream: str | None, config: Path | None, replay: Path | None) -> Plan:
    given: dict[str, Any] = {}
    if upstream is not None:
        given["upstream"] = {"url": upstream}
    if replay is not None:
        given["replay"] = replay
    with failing():
        return make_plan(load_settings(config, given))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        fail(f"cannot listen on {host} port {port}: {reason}; choose another --port, or 0 for a free one")


def _inherited(fd: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=fd)
        listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        fail(f"--fd {fd} is not a socket ({error.strerror}); pass the number of an inherited listening socket")
    if not listens:
        fail(f"--fd {fd} does not listen; call listen() on the socket before it is handed over")
    return listener


def _stop_at_end_of_input() -> None:
    """Stop once nobody holds the other end of standard input: who started this process is gone, by `kill -9` too."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _check_store(plan: Plan) -> None:
    """Open and close the store: what is wrong with it is said here, once, and not by every worker."""
    with failing():
        store = SqliteStore(plan.store_path)
        store.open()
        store.close()


def _begin_replay(plan: Plan, stack: ExitStack) -> Plan:
    """Load the bundle that is to be replayed and begin with its first sample, before any worker does.

    Returns the plan with the store of the replay: the workers share it, and it is removed at the end unless the
    operator named it.
    """
    bundle = plan.settings.replay
    if bundle is None:
        return plan
    if plan.settings.replay_dir is None:
        folder = stack.enter_context(temporary_folder())
        os.environ[f"{PREFIX}REPLAY_DIR"] = str(folder)
        plan = replace(plan, store_path=folder / STORE)
    with failing():
        rewind(bundle, plan.store_path)
    return plan


def _refuse_loop(listener: socket.socket, plan: Plan) -> None:
    """Fail where the upstream is this very sidecar: each request would ask for the next."""
    upstream = urlsplit(plan.address.origin)
    if (
        listener.family in _INTERNET
        and upstream.port == listener.getsockname()[1]
        and is_loopback(upstream.hostname or "")
    ):
        fail(
            f"upstream.url '{plan.address.url}' is this sidecar's own address;"
            " name the model server's, or take another --port"
        )


def _announce(listener: socket.socket, plan: Plan) -> None:
    if listener.family in _INTERNET:
        host, port = listener.getsockname()[:2]
        where = f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"
    else:
        where = str(listener.getsockname())
    names = ", ".join(entry.name for entry in plan.entries) or "none (a pure relay)"
    typer.echo(f"evalside {__version__}: {where} -> {_behind(plan)}", err=True)
    typer.echo(f"  pipeline: {names}\n  store: {plan.store_path}\n  stop with Ctrl-C", err=True)


def _behind(plan: Plan) -> str:
    replay = plan.settings.replay
    return plan.address.url if replay is None else f"the record in {replay}, no model server"


def _kept(plan: Plan, store: str) -> str:
    if plan.settings.replay is None:
        return store
    return "a temporary one, removed at the end" if plan.settings.replay_dir is None else str(plan.store_path)


def _add_commands() -> None:
    for entry in entry_points(group=COMMANDS):
        try:
            command = entry.load()
        except Exception as error:  # noqa: BLE001 - another package's mistake must not take the sidecar with it
            typer.secho(f"warning: command '{entry.name}' ({entry.value}) cannot be loaded: {error!r}", err=True)
        else:
            if isinstance(command, typer.Typer):
                app.add_typer(command, name=entry.name)
            else:
                app.command(entry.name)(command)


def main() -> None:
    """Run the command."""
    _add_commands()
    app()


if __name__ == "__main__":
    main()
