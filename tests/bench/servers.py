"""The servers that are compared, each started on the core of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from harness.api import ApiEndpoint
from harness.proxy_process import SERVE, Sidecar
from tests.bench import cores, usage

DIRECT = "direct"
NGINX = "nginx"
RELAY = "bare relay"
DEFAULT = "default pipeline"
ONE_WORKER = "one worker"
TWO_WORKERS = "two workers"

_NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_body_buffer_size 1m;
  keepalive_requests 100000000;
  upstream model {{ server {upstream}; keepalive 1024; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://model;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


class Server(NamedTuple):
    """One that answers at `url`; `pid` is the process that it all hangs on."""

    name: str
    url: str
    pid: int


@contextmanager
def upstream() -> Iterator[Server]:
    """Start what stands behind all of them."""
    with cores.on(cores.OTHERS):
        process = subprocess.Popen([sys.executable, "-m", "tests.bench.upstream"], stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout is not None
            yield Server(DIRECT, process.stdout.readline().strip(), process.pid)
        finally:
            process.terminate()


def has_nginx() -> bool:
    """Return whether it is installed."""
    return _nginx() is not None


def _nginx() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextmanager
def nginx(url: str, folder: Path) -> Iterator[Server]:
    """Start nginx as a plain reverse proxy: one worker, kept connections, nothing buffered."""
    program = _nginx()
    assert program is not None
    port = free_port()
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port, upstream=url.removeprefix("http://")))
    command = [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)]
    with started(NGINX, command, port, folder / "nginx.log") as server:
        yield server


@contextmanager
def sidecar(
    name: str,
    url: str,
    folder: Path,
    *,
    interceptors: list[object] | None = None,
    workers: int = 1,
    on: Collection[int] = cores.SERVER,
) -> Iterator[Server]:
    """Start a sidecar; without `interceptors` it has the default pipeline."""
    config = {} if interceptors is None else {"adapter_config": {"interceptors": interceptors}}
    endpoint = ApiEndpoint.model_validate({"url": f"{url}/v1", **config})
    command = SERVE if workers == 1 else (*SERVE, "--workers", str(workers))
    folder.mkdir(exist_ok=True)
    before = set(usage.children(os.getpid()))
    running = Sidecar(endpoint, log_path=folder / "log", store=folder / "evalside.db", command=command)
    with cores.on(on):
        running.__enter__()
    try:
        [pid] = set(usage.children(os.getpid())) - before
        yield Server(name, running.url, pid)
    finally:
        running.__exit__(None, None, None)


@contextmanager
def started(
    name: str, command: Sequence[str], port: int, log: Path, *, env: dict[str, str] | None = None, patience: float = 10
) -> Iterator[Server]:
    """Start a program that listens on `port`, and end it again."""
    with cores.on(cores.SERVER), log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **(env or {})})
    try:
        _await_port(name, process, port, log, patience)
        yield Server(name, f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        process.wait()


def _await_port(name: str, process: subprocess.Popen[bytes], port: int, log: Path, patience: float) -> None:
    due = time.monotonic() + patience
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > due:
                raise SystemExit(f"{name} did not start:\n{log.read_text(errors='replace')[-2000:]}") from None
            time.sleep(0.05)


def free_port() -> int:
    """Return a port that nobody listens on, for programs that cannot be given a socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
