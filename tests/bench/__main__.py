"""`make bench`: the sidecar beside the bare model server, nginx, and a bare relay."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench import cores, gates, load, paced, report, servers, store, transports, usage, workloads
from tests.bench.servers import Server
from tests.bench.workloads import Workload

Rounds = dict[str, dict[str, dict[str, list[float]]]]


def main() -> int:
    """Measure, report, and return 1 where a gate fails or a measurement is void."""
    options = _options()
    if shutil.which("wrk") is None:
        print("make bench needs wrk, a compiled load generator; with Debian: apt-get install wrk", file=sys.stderr)
        return 1
    if not servers.has_nginx():
        print("nginx is not installed, so nothing is compared with it; with Debian: apt-get install nginx-light")
    found: dict[str, Any] = {"conditions": report.conditions(), "usage": {}, "clients": {}, "store": {}}
    with tempfile.TemporaryDirectory(prefix="evalside-bench-") as folder:
        found["workloads"] = _measure(options, Path(folder), found)
    report.show(found)
    if options.json is not None:
        report.write(found, options.json)
    judged = gates.judged(found["workloads"], cores=os.cpu_count() or 1)
    return 0 if not options.void and all(item.passed for item in judged) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds; medians are reported (5)")
    parser.add_argument("--seconds", type=int, default=3, help="length of one measurement (3)")
    parser.add_argument("--only", action="append", choices=workloads.NAMES, help="measure this workload; repeatable")
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    options = parser.parse_args()
    options.only = options.only or workloads.NAMES
    options.void = []
    return options


def _measure(options: argparse.Namespace, folder: Path, found: dict[str, Any]) -> Rounds:
    rounds: Rounds = {}
    with ExitStack() as stack:
        upstream = stack.enter_context(servers.upstream())
        compared = [upstream]
        if servers.has_nginx():
            compared.append(stack.enter_context(servers.nginx(upstream.url, folder / "nginx")))
        relay = servers.sidecar(servers.RELAY, upstream.url, folder / "relay", interceptors=[])
        compared.append(stack.enter_context(relay))
        compared.append(stack.enter_context(servers.sidecar(servers.DEFAULT, upstream.url, folder / "default")))
        before = {server.name: usage.of(server.pid) for server in compared}
        chosen = [workload for workload in workloads.WORKLOADS if workload.name in options.only]
        _compare(compared, chosen, folder, options, rounds)
        if workloads.PACED in options.only:
            _compare_streams(compared, options, rounds)
        found["usage"] = {server.name: (before[server.name], usage.of(server.pid)) for server in compared}
    with ExitStack() as stack:  # anew, so that nobody's memory or caches are full
        upstream = stack.enter_context(servers.upstream())
        if workloads.CLIENTS in options.only:
            found["clients"] = transports.measure(upstream.url, rounds=options.rounds)
        if workloads.FULL_STORE in options.only:
            found["store"] = store.measure(upstream.url, folder, rounds=options.rounds, seconds=options.seconds)
        if workloads.WORKERS in options.only:
            _compare_workers(upstream, folder, options, rounds)
    return rounds


def _compare(
    compared: list[Server], chosen: list[Workload], folder: Path, options: argparse.Namespace, rounds: Rounds
) -> None:
    """Measure every server with every workload; one that nothing can be said of is left out, and fails the target."""
    for workload in chosen:
        try:
            _compare_on(workload, compared, folder, options, rounds)
        except load.Void as error:
            print(f"make bench: {error}", file=sys.stderr)
            options.void.append(workload.name)
            rounds.pop(workload.name, None)


def _compare_on(
    workload: Workload, compared: list[Server], folder: Path, options: argparse.Namespace, rounds: Rounds
) -> None:
    """Measure every server in every round, each time in another order."""
    for number in range(-1, options.rounds):  # the first warms up and does not count
        shift = number % len(compared)
        for server in compared[shift:] + compared[:shift]:
            usage.settle(server.pid)
            before = usage.of(server.pid)
            salt = f"{workload.name}-{number}" if workload.cycle is None else workload.name
            seconds = max(options.seconds, workload.connections // 200) if number >= 0 else 1
            try:
                found = load.run(server.url, folder, workload, salt=salt, seconds=seconds)
            except load.Void:
                if number < 0:
                    continue
                raise
            cpu = (usage.of(server.pid).cpu_s - before.cpu_s) / found.requests * 1e6
            if number >= 0:
                values = {"per_second": found.per_second, "p50_ms": found.p50_ms, "cpu_us": cpu}
                _note(rounds, workload.name, server.name, values)
        if number >= 0 and workload.ideal is not None:
            _note(rounds, workload.name, gates.IDEAL, {"per_second": workload.ideal})


def _compare_streams(compared: list[Server], options: argparse.Namespace, rounds: Rounds) -> None:
    for number in range(options.rounds):
        shift = number % len(compared)
        for server in compared[shift:] + compared[:shift]:
            found = paced.measure(server.url, salt=f"{os.getpid()}-{number}")
            _note(rounds, workloads.PACED, server.name, found._asdict())


def _compare_workers(upstream: Server, folder: Path, options: argparse.Namespace, rounds: Rounds) -> None:
    with ExitStack() as stack:
        compared = [
            stack.enter_context(servers.sidecar(name, upstream.url, folder / name, workers=workers, on=cores.ALL))
            for name, workers in ((servers.ONE_WORKER, 1), (servers.TWO_WORKERS, 2))
        ]
        found: Rounds = {}
        _compare(compared, [workloads.UNIQUE], folder, options, found)
        if workloads.UNIQUE.name in found:
            rounds[workloads.WORKERS] = found[workloads.UNIQUE.name]


def _note(rounds: Rounds, workload: str, server: str, values: dict[str, float]) -> None:
    for metric, value in values.items():
        rounds.setdefault(workload, {}).setdefault(metric, {}).setdefault(server, []).append(value)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except load.Void as error:
        sys.exit(f"make bench: {error}")
