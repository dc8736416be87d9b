"""The sidecar as a subprocess on a socket that is bound before it starts, so that no port can be lost in between."""

import os
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from harness.api import ApiEndpoint
from harness.errors import ConfigurationError, StartError
from harness.process import ChildProcess, Command
from harness.redact import Redactor, named_variables
from harness.service import Service

DEFAULT_STORE = Path(".evalside") / "evalside.db"
_WRONG_CONFIGURATION = 2
"""The exit code of `evalside serve` for a mistake of the user's."""
SERVE = (sys.executable, "-m", "proxy.cli", "serve", "--with-parent")


class Sidecar(Service):
    """A sidecar in front of `endpoint` while the `with` block is open, on a free loopback port: see `url`.

    Its log goes to the end of `log_path`, its answers to the SQLite file `store`, unless `proxy`, further settings of
    the sidecar, names another. It inherits the descriptors `held`. Raises ConfigurationError if the endpoint's key
    variable is not set or the sidecar refuses its settings, StartError with the end of the log if it does not come up.
    """

    def __init__(  # noqa: PLR0913 - each has a default that serves
        self,
        endpoint: ApiEndpoint,
        *,
        log_path: Path,
        store: Path = DEFAULT_STORE,
        proxy: Mapping[str, Any] | None = None,
        held: Sequence[int] = (),
        command: Sequence[str] = SERVE,
        start_timeout_s: float = 60.0,
    ) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._log_path = log_path
        self._config = proxy_config(endpoint, store, proxy)
        self._store = store
        self._held = held
        self._command = command
        self._start_timeout_s = start_timeout_s
        self._process: ChildProcess | None = None

    def check(self) -> None:
        """Raises StartError with the end of its log if the sidecar is gone."""
        if self._process is not None:
            self._process.check_alive("stopped in the middle of the run")

    def _start(self, stack: ExitStack) -> str:
        require_key(self._endpoint)
        self._store.parent.mkdir(parents=True, exist_ok=True)
        config = self._write_config(stack)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            argv = [*self._command, "--config", str(config), "--fd", str(listener.fileno())]
            redactor = Redactor.of(self._endpoint)
            descriptors = (listener.fileno(), *self._held)
            command = Command("the sidecar", argv, _environment(self._config), descriptors, redactor)
            self._process = stack.enter_context(ChildProcess(command, self._log_path, appends=True))
        try:
            self._process.wait_ready(f"{url}/-/live", self._start_timeout_s)
        except StartError as error:
            if error.code == _WRONG_CONFIGURATION:
                raise ConfigurationError(f"the sidecar does not take its configuration: {error}") from None
            raise
        return url

    def _write_config(self, stack: ExitStack) -> Path:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="evalside-"))
        path = Path(folder) / "proxy.yaml"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yaml.safe_dump(self._config, file, sort_keys=False, allow_unicode=True)
        return path


def proxy_config(endpoint: ApiEndpoint, store: Path, proxy: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The sidecar's own YAML for an endpoint: `proxy` with what the endpoint says. Keys are named, never held."""
    given = dict(proxy or {})
    upstream = endpoint.model_dump(include={"url", "model_id", "api_key_name"}, exclude_none=True)
    adapter = endpoint.adapter_config.settings() if endpoint.adapter_config is not None else {}
    return {
        "upstream": {**(given.pop("upstream", None) or {}), **upstream},
        "store": f"sqlite:///{store.resolve()}",
        **given,
        **adapter,
    }


def require_key(endpoint: ApiEndpoint) -> None:
    """Raises ConfigurationError if the variable that should hold the endpoint's key is missing or empty."""
    name = endpoint.api_key_name
    if name is not None and not os.environ.get(name):
        raise ConfigurationError(
            f"the environment variable {name!r}, named by api_key_name, is not set; "
            f"set it with `export {name}=…`, or leave api_key_name out if the endpoint needs no key"
        )


def _environment(config: Mapping[str, Any]) -> dict[str, str]:
    # The sidecar's environment outranks its file: a stray EVALSIDE_UPSTREAM__URL would redirect the whole run.
    wanted = set(named_variables(config))
    return {name: value for name, value in os.environ.items() if not name.startswith("EVALSIDE_") or name in wanted}
