"""Serves nemo-evaluator's adapter proxy, in an environment that has it: `peer_nemo.py UPSTREAM PORT [CACHE_DIR]`.

Without a folder for its cache it only forwards, which is the least that it can do.
"""

from __future__ import annotations

import signal
import sys

from nemo_evaluator.adapters.proxy import start_adapter_proxy  # type: ignore[import-not-found]


def main() -> None:
    """Serve until a signal comes."""
    upstream, port, *cache = sys.argv[1:]
    start_adapter_proxy(
        upstream_url=upstream,
        model_id="",
        port=int(port),
        interceptor_specs=[{"name": "caching", "config": {"cache_dir": folder}} for folder in cache],
    )
    signal.pause()


if __name__ == "__main__":
    main()
