"""`make bench`: what the sidecar costs beside the bare model server and a bare relay, and what a full store costs."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from harness.api import ApiEndpoint
from harness.proxy_process import Sidecar
from tests.bench import load, store, transports

PIPELINES: dict[str, list[object] | None] = {"bare relay": [], "default pipeline": None}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds; medians are reported (5)")
    parser.add_argument("--seconds", type=int, default=3, help="length of one measurement (3)")
    parser.add_argument("--connections", type=int, default=32, help="concurrent connections (32)")
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        print("make bench needs wrk, a compiled load generator; with Debian: apt-get install wrk", file=sys.stderr)
        return 1
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evalside-bench-")))
        upstream = stack.enter_context(_upstream())
        urls = {"direct": upstream}
        for name, interceptors in PIPELINES.items():
            config = {} if interceptors is None else {"adapter_config": {"interceptors": interceptors}}
            sidecar = Sidecar(
                ApiEndpoint.model_validate({"url": f"{upstream}/v1", **config}),
                log_path=folder / f"{name}.log",
                store=folder / name / "evalside.db",
            )
            urls[name] = stack.enter_context(sidecar).url
        rates = _rates(urls, folder, options)
        costs = transports.measure(upstream, rounds=options.rounds)
        hits = store.measure(
            upstream, folder, rounds=options.rounds, seconds=options.seconds, connections=options.connections
        )
    _report(rates, costs, hits)
    if options.json is not None:
        found = {"requests_per_second": rates, "transport_cpu_us": costs, "hits_per_second": hits}
        options.json.write_text(json.dumps(found, indent=2))
    return 0


@contextmanager
def _upstream() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.upstream"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def _rates(urls: dict[str, str], folder: Path, options: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    rates: dict[str, dict[str, list[float]]] = {"unique requests": {}, "the same request": {}}
    for number in range(options.rounds):
        for workload, by_server in rates.items():
            for name, url in urls.items():
                found = load.run(
                    url,
                    folder,
                    load.Asking(f"{os.getpid()}-{number}", cycle=None if workload == "unique requests" else 1),
                    seconds=options.seconds,
                    connections=options.connections,
                )
                if found.errors:
                    raise SystemExit(f"{name}: {found.errors} answers were not 200; the measurement is void")
                by_server.setdefault(name, []).append(found.per_second)
    return rates


def _report(
    rates: dict[str, dict[str, list[float]]], costs: dict[int, dict[str, list[float]]], hits: dict[str, list[float]]
) -> None:
    console = Console(width=110)
    columns = ("workload", "server", "of direct", "of the bare relay", "spread of the rounds")
    table = Table(*columns, title="Throughput, median")
    for workload, by_server in rates.items():
        direct, relay = median(by_server["direct"]), median(by_server["bare relay"])
        for name, values in by_server.items():
            middle = median(values)
            spread = f"{min(values) / middle:.2f} to {max(values) / middle:.2f}"
            table.add_row(workload, name, f"{middle / direct:.3f}", f"{middle / relay:.2f}", spread)
    console.print(table)
    table = Table("concurrent requests", "CPU of httpx's pool / CPU of ours", "per round", title="The upstream client")
    for concurrency, times in costs.items():
        ratios = [theirs / ours for theirs, ours in zip(times["httpx"], times["aiohttp"], strict=True)]
        table.add_row(str(concurrency), f"{median(ratios):.1f}", f"{min(ratios):.1f} to {max(ratios):.1f}")
    console.print(table)
    ratios = [full / empty for full, empty in zip(hits[store.FULL], hits[store.EMPTY], strict=True)]
    console.print(
        f"Hits from a store of {store.FULL} are {median(ratios):.3f} times as fast as from an {store.EMPTY}"
        f" ({min(ratios):.3f} to {max(ratios):.3f} in {len(ratios)} rounds)."
    )


if __name__ == "__main__":
    sys.exit(main())
