"""What can go wrong in a run. Every message names the thing, its value and the way out."""

from typing import Any

from pydantic import ValidationError

from harness.redact import Redactor


class HarnessError(Exception):
    """Base of all errors of the harness."""


class ConfigurationError(HarnessError, ValueError):
    """A setting is wrong, or one setting contradicts another. Nothing was started."""


class StartError(HarnessError):
    """A process that the harness starts (the sidecar, a model server) did not come up. `code` is its exit code."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class EndpointError(HarnessError):
    """The endpoint refuses every request of this run (401, 403, 404) or cannot be reached: going on is pointless."""


class JudgeError(HarnessError):
    """The model that grades gave no answer: the sample has no score and counts as an error."""


class RequestError(HarnessError):
    """A client's request was refused, or its answer broke off. `status` and `code` are the server's."""

    def __init__(self, message: str, status: int, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class RunError(HarnessError):
    """A run cannot be had as asked: it goes on already, or is not in the state that is needed."""


class ExportError(HarnessError):
    """A tracker does not take the scores. The message has its own words."""


class UnknownRun(ConfigurationError):
    """No run has this id or begins with it, or several do."""


class EvaluationError(HarnessError):
    """The run ended and not one sample was answered."""


def explain(error: ValidationError) -> str:
    """One line per mistake: the dotted field, what is wrong, and the value unless it may be a secret."""
    lines = []
    for problem in error.errors(include_url=False):
        field = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        ours = problem["type"] in {"value_error", "missing"}  # ours name the value where it is safe to
        line = message if ours else f"{message} (got {_shown(problem['loc'], problem['input'])!r})"
        lines.append(f"{field}: {line}" if field else line)
    return "\n".join(lines)


def _shown(location: tuple[int | str, ...], value: Any) -> Any:
    """The value as it may be shown: who mistakes what `api_key_name` takes may have given the key itself."""
    name = str(location[-1]).removesuffix("_name") if location else ""
    return Redactor().document({"headers": {name: value}})["headers"][name]  # where secrets go by most names
