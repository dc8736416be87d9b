"""Any model server that a command starts: started for a run, waited for, and stopped after it."""

import os
import shlex
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harness.api import ApiEndpoint
from harness.errors import ConfigurationError, StartError
from harness.plan import Deployment
from harness.process import ChildProcess, Command
from harness.service import Service
from harness.strict import nearest

_LEASH = (sys.executable, "-m", "harness.deployments.leash")
_GRACE_S = 30.0


class Deployed(Service):
    """The server of a deployment while the `with` block is open; its console goes to the end of `log_path`.

    It also ends if this process is killed. Raises StartError with the end of the log if it stops at start, or answers
    none of its health paths in time, or if its port is taken.
    """

    def __init__(self, deployment: Deployment, *, log_path: Path) -> None:
        super().__init__()
        self._deployment = deployment
        self._log_path = log_path

    def _start(self, stack: ExitStack) -> str:
        port = _free_port(self._deployment.port)
        argv = arguments(self._deployment, port)
        command = Command(f"the model server ({shlex.join(argv[:3])} …)", [*_LEASH, *argv], self._environment())
        process = stack.enter_context(ChildProcess(command, self._log_path, grace_s=_GRACE_S, appends=True))
        url = f"http://127.0.0.1:{port}"
        process.wait_ready([f"{url}{path}" for path in self._deployment.health], self._deployment.start_timeout)
        process.check_alive()  # else another server answered there
        return url

    def endpoint(self) -> ApiEndpoint:
        """What it serves."""
        return ApiEndpoint(url=f"{self.url}{self._deployment.path}", model_id=self._deployment.model_id)

    def _environment(self) -> Mapping[str, str]:
        return {**os.environ, **self._deployment.env}


def arguments(deployment: Deployment, port: int | str) -> list[str]:
    """The command with what stands in braces filled in; a word that is only the name of something null is left out.

    Raises ConfigurationError for a name that nothing gives.
    """
    known: dict[str, Any] = {**deployment.values, "port": port, "python": sys.executable}
    empty = {f"{{{name}}}" for name, value in known.items() if value is None}
    words = []
    for word in deployment.command:
        if word in empty:
            continue
        try:
            words.append(word.format_map(known))
        except KeyError as error:
            name = str(error.args[0])
            raise ConfigurationError(
                f"deployment.command has {{{name}}} in {word!r}, and deployment no {name!r}{nearest(name, known)}; "
                "a brace of its own is written twice: {{"
            ) from None
        except (ValueError, IndexError, AttributeError) as error:
            raise ConfigurationError(
                f"deployment.command has {word!r}, which cannot be filled in ({error}); a brace is written twice: {{{{"
            ) from None
    return words


def _free_port(wanted: int) -> int:
    """The port `wanted`, 0 for any. Raises StartError if another server has it: that one would be taken for ours."""
    # Other people's servers take no bound socket; between this and their own bind somebody could take the port.
    try:
        with socket.create_server(("127.0.0.1", wanted)) as listener:
            return int(listener.getsockname()[1])
    except OSError as error:
        raise StartError(
            f"port {wanted} is taken or not allowed ({error.strerror}); end what has it, or leave deployment.port at "
            "0, a free one"
        ) from error
