"""Anything else that takes a base URL: `command`, with the command line and where its scores are in `params.extra`."""

import json
import shlex
import string
from collections.abc import Mapping
from typing import Any

from harness.api import EvaluationResult, TaskResult
from harness.errors import ConfigurationError
from harness.external.base import Ask, Call, Outcome, OutputError, metric

RESULTS = "results.json"


class Command:
    """Runs the user's own command and reads the scores out of a JSON file that it leaves.

    `$base_url`, `$model`, `$output_dir`, `$limit`, `$parallelism`, `$temperature`, `$top_p` and `$max_new_tokens` are
    replaced in `command`; what is not set is empty. No shell is involved.
    """

    name = "command"
    requirements: tuple[str, ...] = ()
    imported: tuple[str, ...] = ()
    options: Mapping[str, str] = {
        "command": "the command line, with $base_url and others to be replaced; required",
        "results": f"the JSON file it leaves, below $output_dir; {RESULTS}",
        "metrics": "map of a metric's name to where it is, such as scores.accuracy; null takes every number at the top",
        "requirements": "list of what pip installs into its environment; null uses the programs on PATH",
    }

    def calls(self, ask: Ask) -> list[Call]:
        """One command."""
        text = ask.options.get("command")
        if not isinstance(text, str) or not text.strip():
            raise ConfigurationError(
                "task 'command' needs params.extra.command, a command line such as 'my-eval --url $base_url'"
            )
        values = {
            "base_url": ask.base_url,
            "model": ask.model,
            "output_dir": str(ask.folder),
            "limit": ask.limit,
            "parallelism": ask.parallelism,
            "temperature": ask.params.temperature,
            "top_p": ask.params.top_p,
            "max_new_tokens": ask.params.max_new_tokens,
        }
        shown = {name: "" if value is None else str(value) for name, value in values.items()}
        try:
            argv = [string.Template(word).substitute(shown) for word in shlex.split(text)]
        except KeyError as error:
            known = ", ".join(f"${name}" for name in shown)
            raise ConfigurationError(f"params.extra.command has ${error.args[0]}, which is none of {known}") from None
        except ValueError as error:
            raise ConfigurationError(f"params.extra.command {text!r} is no command line: {error}") from None
        return [Call(tuple(argv), {"OPENAI_BASE_URL": ask.base_url, "OPENAI_API_KEY": "unused"})]

    def outcome(self, ask: Ask) -> Outcome:
        """The numbers of its JSON file."""
        path = ask.folder / str(ask.options.get("results", RESULTS))
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise OutputError(
                f"the command left no {path}: {error.strerror}; name its file in params.extra.results"
            ) from None
        except ValueError as error:
            raise OutputError(f"{path} is no JSON: {error}") from None
        chosen = ask.options.get("metrics")
        values = (
            _at_the_top(document) if chosen is None else {name: _at(document, str(at)) for name, at in chosen.items()}
        )
        if not values:
            raise OutputError(f"{path} holds no number at its top; name where the scores are in params.extra.metrics")
        metrics = {name: metric(name, value) for name, value in values.items()}
        return Outcome(EvaluationResult(tasks={ask.task: TaskResult(metrics=metrics)}), [])


def _at_the_top(document: Any) -> dict[str, float]:
    if not isinstance(document, dict):
        return {}
    return {
        str(name): float(value)
        for name, value in document.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _at(document: Any, path: str) -> float:
    found = document
    for name in path.split("."):
        if isinstance(found, list) and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            raise OutputError(f"params.extra.metrics names {path!r}, and there is no {name!r} in what the command left")
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise OutputError(f"params.extra.metrics names {path!r}, which is {found!r} and no number")
    return float(found)
