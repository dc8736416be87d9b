"""What a run would do, in words: nothing is started, asked or written."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from harness.api import ApiEndpoint
from harness.deployments.command import arguments
from harness.execution import check_plan, place_of
from harness.job import beside
from harness.plan import Plan
from harness.proxy_process import DEFAULT_STORE, SERVE, proxy_config
from harness.redact import Redactor
from harness.tasks.catalog import resolve

_ID = "<id>"
_Use = tuple[ApiEndpoint, Mapping[str, Any] | None, str]


def describe(document: Mapping[str, Any], plan: Plan) -> str:
    """The composed configuration, the tasks, the commands and the sidecars' configuration; secrets are redacted.

    Raises ConfigurationError where a run would.
    """
    check_plan(plan)
    redactor = Redactor.of(plan)
    parts = ["# The composed configuration", _yaml(redactor.document(document)), *_server(plan, redactor)]
    for task in plan.tasks:
        place = place_of(_ID, task.name)
        parts.append(f"# Task {task.name}, in the sidecar's run {place}. {resolve(task.config.type).said}")
        document = {"config": _dump(task.config, redactor), "target": _dump(task.target, redactor)}
        parts.append(_yaml(document))
    for endpoint, proxy, users in _sidecars(plan):
        command = ["evalside", *SERVE[3:], "--config", "<temporary file>", "--fd", "<listening socket>"]
        parts.append(f"# The sidecar of {', '.join(users)}: {shlex.join(command)}")
        parts.append(_yaml(redactor.document(proxy_config(endpoint, DEFAULT_STORE, proxy))))
    return "\n".join([*parts, "# Nothing was started, asked or written."])


def _server(plan: Plan, redactor: Redactor) -> Iterator[str]:
    if plan.deployment is not None:
        yield f"# The model server: {redactor.text(shlex.join(arguments(plan.deployment, '<free port>')))}"
        paths = " or ".join(plan.deployment.health)
        yield f"# is waited for at {paths}, for {plan.deployment.start_timeout:g} s.\n"


def _sidecars(plan: Plan) -> list[tuple[ApiEndpoint, Mapping[str, Any] | None, list[str]]]:
    found: dict[str, tuple[ApiEndpoint, Mapping[str, Any] | None, list[str]]] = {}
    for task in plan.tasks:
        wanted: list[_Use] = [(task.target.api_endpoint, task.target.proxy, task.name)]
        if task.config.judge is not None:
            wanted.append((task.config.judge.api_endpoint, beside(task.target), f"{task.name}'s judge"))
        for endpoint, proxy, user in wanted:
            key = str(proxy_config(endpoint, DEFAULT_STORE, proxy))
            found.setdefault(key, (endpoint, proxy, []))[2].append(user)
    return list(found.values())


def _dump(model: Any, redactor: Redactor) -> Any:
    return redactor.document(model.model_dump(mode="json", exclude_none=True))


def _yaml(document: Any) -> str:
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    return text
