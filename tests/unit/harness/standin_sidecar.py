"""Stands in for the sidecar: its command line, /-/live and runs; forwards to the upstream, caches by path and body."""

import argparse
import http.client
import itertools
import re
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import yaml

CACHE: dict[tuple[str, bytes], tuple[int, bytes]] = {}
IDS = itertools.count(1)
RUN = re.compile(r"^/-/runs/[^/]+")


def make_handler(upstream: str) -> type[BaseHTTPRequestHandler]:
    parts = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/-/live" or RUN.fullmatch(urlsplit(self.path).path):
                self.answer(200, b"{}")
            else:
                self.answer(*self.forward(b""))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if RUN.fullmatch(self.path):
                self.answer(200, b"{}")
                return
            key = (self.path, body)
            state = "hit" if key in CACHE else "miss"
            status, answer = CACHE.get(key) or self.forward(body)
            if status == 200:
                CACHE[key] = (status, answer)
            self.answer(status, answer, state)

        def forward(self, body: bytes) -> tuple[int, bytes]:
            assert parts.hostname
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
            try:
                connection.request(
                    self.command, RUN.sub("", self.path), body or None, {"content-type": "application/json"}
                )
                response = connection.getresponse()
                return response.status, response.read()
            except ConnectionRefusedError:
                return 502, b'{"error": {"code": "upstream_unreachable", "message": "connection refused"}}'
            finally:
                connection.close()

        def answer(self, status: int, body: bytes, cache: str | None = None) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            if cache:
                self.send_header("x-evalside-cache", cache)
                self.send_header("x-evalside-id", f"x{next(IDS)}")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    return Handler


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--fd", type=int, required=True)
    options = parser.parse_args()
    with open(options.config, encoding="utf-8") as file:  # noqa: PTH123
        config = yaml.safe_load(file)
    sys.stdout.write(f"{config}\n")
    sys.stdout.flush()
    server = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(config["upstream"]["url"]), bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=options.fd)
    server.daemon_threads = True
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stop.wait()


if __name__ == "__main__":
    main()
