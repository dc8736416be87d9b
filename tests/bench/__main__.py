"""`make bench`: the sidecar beside the bare model server, nginx, a bare relay and, with `--peers`, other proxies."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench import cores, gates, peers, report, rounds, servers, store, transports, usage, workloads
from tests.bench.progress import Progress
from tests.bench.rounds import Rounds
from tests.bench.servers import Server

STOPPED = 130
_STORE_SECONDS = 150.0
"""What it takes to fill a store with a million answers, and to have the ones that are asked for kept."""
_CLIENT_SECONDS = 8.0
_TOO_FEW = f"it needs {gates.CORES_FOR_WORKERS} cores to say anything"


def main() -> int:
    """Measure, report, and return 1 where a gate fails or a measurement is void, 130 where it was stopped."""
    options = _options()
    if shutil.which("wrk") is None:
        print("make bench needs wrk, a compiled load generator; with Debian: apt-get install wrk", file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):  # also as a job in the background, which ignores Ctrl-C
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="evalside-bench-") as folder:
        bench = Bench(options, Path(folder))
        try:
            bench.run()
        except KeyboardInterrupt:
            print("\nmake bench: stopped; this is what was measured until then", file=sys.stderr)
            return STOPPED
        finally:
            found = bench.found()
            report.show(found)
            if options.json is not None:
                report.write(found, options.json)
    for line in found["void"]:
        print(f"make bench: {line}", file=sys.stderr)
    return 0 if not found["void"] and all(item.passed for item in found["gates"]) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds; medians are reported (5)")
    parser.add_argument("--seconds", type=int, default=3, help="length of one measurement (3)")
    parser.add_argument("--only", action="append", choices=workloads.NAMES, help="measure this workload; repeatable")
    parser.add_argument("--peers", action="store_true", help="also LiteLLM and nemo-evaluator (installs 1 GB)")
    parser.add_argument("--peers-python", action="append", default=[], help="a Python that a peer needs; repeatable")
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    return parser.parse_args()


class Bench:
    """One run: what is asked for, and what has come out of it so far."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._only: list[str] = options.only or self._all()
        self._chosen = [workload for workload in workloads.WORKLOADS if workload.name in self._only]
        self._pythons: dict[str, Path] = {}
        self._missing: list[str] = []
        self._usage: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}
        self._store: dict[str, Any] = {}
        self._conditions = report.conditions()
        if options.peers:
            self._install_peers()
        self._progress = Progress(self._planned())
        self._rounds = Rounds(folder, options.rounds, options.seconds, self._progress)

    def run(self) -> None:
        """Measure everything that is asked for."""
        if not servers.has_nginx():
            self._progress.say("nginx is not installed, so nothing is compared with it; apt-get install nginx-light")
        if self._chosen or workloads.PACED in self._only:
            self._compare()
        with ExitStack() as stack:  # anew, so that nobody's memory or caches are full
            upstream = stack.enter_context(servers.upstream())
            if workloads.CLIENTS in self._only:
                with self._progress.round(workloads.CLIENTS, "all rounds", _CLIENT_SECONDS * self._options.rounds):
                    self._clients = transports.measure(upstream.url, rounds=self._options.rounds)
            if workloads.FULL_STORE in self._only:
                with self._progress.round(workloads.FULL_STORE, "filling it, all rounds", self._store_seconds()):
                    self._store = store.measure(
                        upstream.url, self._folder, rounds=self._options.rounds, seconds=self._options.seconds
                    )
            if workloads.WORKERS in self._only:
                self._compare_workers(upstream)

    def found(self) -> dict[str, Any]:
        """Return everything that was measured, and what is to be said of it."""
        values = self._rounds.complete()
        return {
            "conditions": self._conditions,
            "workloads": values,
            "usage": self._usage,
            "clients": self._clients,
            "store": self._store,
            "gates": gates.judged(values, cores=os.cpu_count() or 1),
            "void": self._missing + self._rounds.void,
        }

    def _all(self) -> list[str]:
        """Return what is measured where nothing is chosen: two workers need more cores than some machines have."""
        if (os.cpu_count() or 1) >= gates.CORES_FOR_WORKERS:
            return list(workloads.NAMES)
        print(f"make bench: '{workloads.WORKERS}' is left out: {_TOO_FEW}", file=sys.stderr)
        return [name for name in workloads.NAMES if name != workloads.WORKERS]

    def _install_peers(self) -> None:
        for peer in peers.PEERS:
            print(f"make bench: {peer.name} is installed into {peer.environment.name}, if it is not", file=sys.stderr)
            try:
                self._pythons[peer.name] = peers.install(peer, self._options.peers_python)
            except peers.Missing as error:
                self._missing.append(str(error))

    def _compare(self) -> None:
        with ExitStack() as stack:
            upstream = stack.enter_context(servers.upstream())
            compared = [upstream]
            if servers.has_nginx():
                compared.append(stack.enter_context(servers.nginx(upstream.url, self._folder / "nginx")))
            relay = servers.sidecar(servers.RELAY, upstream.url, self._folder / "relay", interceptors=[])
            compared.append(stack.enter_context(relay))
            compared.append(
                stack.enter_context(servers.sidecar(servers.DEFAULT, upstream.url, self._folder / "default"))
            )
            if self._pythons:
                self._progress.say("peers are started, which takes half a minute")
                compared += stack.enter_context(peers.serving(self._pythons, upstream.url, self._folder))
            before = {server.name: usage.of(server.pid) for server in compared}
            try:
                for workload in self._chosen:
                    self._rounds.compare(workload, compared)
                if workloads.PACED in self._only:
                    self._rounds.compare_streams(compared)
            finally:
                for server in compared:
                    usage.settle(server.pid)  # it notices that the clients are gone
                    self._usage[server.name] = (before[server.name], usage.of(server.pid))

    def _compare_workers(self, upstream: Server) -> None:
        if (os.cpu_count() or 1) < gates.CORES_FOR_WORKERS:
            self._progress.say(f"'{workloads.WORKERS}' is measured and not judged: {_TOO_FEW}")
        with ExitStack() as stack:
            compared = [
                stack.enter_context(
                    servers.sidecar(name, upstream.url, self._folder / name, workers=workers, on=cores.ALL)
                )
                for name, workers in ((servers.ONE_WORKER, 1), (servers.TWO_WORKERS, 2))
            ]
            self._rounds.compare(workloads.UNIQUE, compared, name=workloads.WORKERS)

    def _planned(self) -> float:
        """Return how many seconds all of it should take."""
        names = [servers.DIRECT, *([servers.NGINX] if servers.has_nginx() else []), servers.RELAY, servers.DEFAULT]
        names += peers.names(self._pythons)
        count, seconds = self._options.rounds, self._options.seconds
        due = sum(
            rounds.planned(workload, names, None) + count * rounds.planned(workload, names, seconds)
            for workload in self._chosen
        )
        due += count * rounds.planned_streams(names) * (workloads.PACED in self._only)
        due += self._store_seconds() * (workloads.FULL_STORE in self._only)
        due += _CLIENT_SECONDS * count * (workloads.CLIENTS in self._only)
        two = [servers.ONE_WORKER, servers.TWO_WORKERS]
        return due + count * rounds.planned(workloads.UNIQUE, two, seconds) * (workloads.WORKERS in self._only)

    def _store_seconds(self) -> float:
        return _STORE_SECONDS + 2 * self._options.rounds * self._options.seconds


if __name__ == "__main__":
    sys.exit(main())
