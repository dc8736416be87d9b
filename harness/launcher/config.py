"""The composed configuration of `evalside run`, checked, and the plan that it makes."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator

from harness.api import EvaluationConfig, EvaluationTarget
from harness.errors import ConfigurationError, explain
from harness.plan import Deployment, Execution, Mode, Plan, PlannedTask
from harness.strict import StrictModel, nearest
from harness.tasks.catalog import NATIVE, resolve

_NO_SERVER_YET = "http://deployment.invalid/v1"
"""The URL of a target whose server is started first. RFC 2606 keeps `.invalid` free."""
_ROOTS = ("config", "target")
_OWN_NAMES = {
    ("config", "params", "extra"),
    ("config", "judge", "params", "extra"),
    ("config", "judge", "api_endpoint", "adapter_config"),
    ("target", "proxy"),
    ("target", "api_endpoint", "adapter_config"),
}
"""Below these, names are the user's or the sidecar's own, and may have dots."""
Where = tuple[str, ...]
M = TypeVar("M", bound=BaseModel)


class ExecutionSection(StrictModel):
    """`execution`: where files go, and how tasks share the time."""

    type: Literal["local"] = "local"
    output_dir: Path = Path("evalside-results")
    mode: Mode = "parallel"
    parallelism: int | None = Field(default=None, ge=1)


class TaskEntry(StrictModel):
    """One of `evaluation.tasks`. `nemo_evaluator_config` is the reference system's newer form of `overrides`."""

    name: str
    overrides: dict[str, Any] = Field(default_factory=dict)
    nemo_evaluator_config: dict[str, Any] = Field(default_factory=dict)


class EvaluationSection(StrictModel):
    """`evaluation`: the tasks, and overrides for all of them."""

    tasks: list[TaskEntry] = Field(default_factory=list)
    overrides: dict[str, Any] = Field(default_factory=dict)
    nemo_evaluator_config: dict[str, Any] = Field(default_factory=dict)

    @field_validator("tasks", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        return (
            [{"name": each} if isinstance(each, str) else each for each in value] if isinstance(value, list) else value
        )


class LaunchConfig(StrictModel):
    """All of it. `target` is checked task by task, after the overrides."""

    execution: ExecutionSection = Field(default_factory=ExecutionSection)
    deployment: dict[str, Any] = Field(default_factory=lambda: {"type": "none"})
    target: dict[str, Any] = Field(default_factory=dict)
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)
    proxy: dict[str, Any] | None = None
    judge: dict[str, Any] | None = None

    @field_validator("evaluation", mode="before")
    @classmethod
    def _may_be_empty(cls, value: Any) -> Any:
        return {} if value is None else value


@dataclass(frozen=True)
class Wanted:
    """What the command line says beside the configuration: tasks, and dotted overrides that outrank all others."""

    tasks: Sequence[str] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)


def make_plan(document: Mapping[str, Any], wanted: Wanted, folder: Path, *, flat: bool = False) -> Plan:
    """The plan, whose tasks write below `folder`, a single one (`flat`) into it.

    Raises ConfigurationError that names key, value and way out.
    """
    launch = _checked(LaunchConfig, document, "")
    deployment = _deployment(launch)
    entries = _entries(launch, wanted.tasks)
    tasks = []
    names: list[str] = []
    for entry in entries:
        name = called(entry.name)
        names.append(name)
        name = name if names.count(name) == 1 else f"{name}-{names.count(name)}"
        tasks.append(_task(name, entry, launch, wanted, folder if flat else folder / name))
    execution = Execution(mode=launch.execution.mode, parallelism=launch.execution.parallelism)
    return Plan(tasks=tasks, deployment=deployment, execution=execution)


def output_dir(document: Mapping[str, Any]) -> Path:
    """The folder below which runs get theirs."""
    return _checked(LaunchConfig, document, "").execution.output_dir


def flattened(overrides: Mapping[str, Any], path: Where = ()) -> Iterator[tuple[Where, Any]]:
    """Overrides by where each belongs, however they were nested: dots in a name part it, but for names of the user's.

    Those are below `config.params.extra` and the sidecar's own sections: `{"model_aliases": {"gpt-4.1": "m"}}`.
    """
    for name, value in overrides.items():
        own = any(path[: len(place)] == place for place in _OWN_NAMES)
        where = (*path, *([str(name)] if own else str(name).split(".")))
        if isinstance(value, Mapping) and value:
            yield from flattened(value, where)
        else:
            yield where, value


def _entries(launch: LaunchConfig, wanted: Sequence[str]) -> list[TaskEntry]:
    listed = launch.evaluation.tasks
    if not listed:
        if not wanted:
            raise ConfigurationError("no task; name one with -t TASK or in evaluation.tasks (`evalside ls tasks`)")
        return [TaskEntry(name=name) for name in wanted]
    names = {_bare(entry.name) for entry in listed}
    for name in wanted:
        if _bare(name) not in names:
            raise ConfigurationError(f"-t {name}: the configuration has no such task{nearest(name, names)}")
    chosen = {_bare(name) for name in wanted}
    return [entry for entry in listed if not wanted or _bare(entry.name) in chosen]


def _bare(name: str) -> str:
    return name.removeprefix(f"{NATIVE}.")


def _task(name: str, entry: TaskEntry, launch: LaunchConfig, wanted: Wanted, folder: Path) -> PlannedTask:
    made: dict[str, Any] = {
        "config": {"type": _type(entry.name), "output_dir": str(folder), "params": {}},
        "target": deepcopy(launch.target),
    }
    section = launch.evaluation
    for overrides in (section.nemo_evaluator_config, section.overrides, entry.nemo_evaluator_config, entry.overrides):
        _override(made, overrides)
    _override(made, wanted.overrides)
    if launch.judge is not None:
        made["config"].setdefault("judge", deepcopy(launch.judge))
    if launch.proxy is not None:
        made["target"].setdefault("proxy", deepcopy(launch.proxy))
    if launch.deployment.get("type") != "none":
        endpoint = made["target"].setdefault("api_endpoint", {})
        if endpoint.get("url"):
            raise ConfigurationError(
                f"target.api_endpoint.url is {endpoint['url']!r}, but the deployment {launch.deployment['type']!r} "
                "starts a server of its own; leave one of them out (deployment: none)"
            )
        endpoint["url"] = _NO_SERVER_YET
    elif not (made["target"].get("api_endpoint") or {}).get("url"):
        raise ConfigurationError(
            f"task {entry.name}: there is no model server: give --url, or target.api_endpoint.url, or start one with a "
            "deployment (-o deployment=vllm)"
        )
    where = f"task {entry.name}: "
    return PlannedTask(
        name=name,
        config=_checked(EvaluationConfig, made["config"], f"{where}config."),
        target=_checked(EvaluationTarget, made["target"], f"{where}target."),
    )


def called(name: str) -> str:
    """What a task is called in a run: a native one by its name, another harness's by that and the name."""
    entry = resolve(name).entry
    return entry.name if entry.harness == NATIVE else entry.qualified


def _type(name: str) -> str:
    entry = resolve(name).entry
    return entry.task if entry.harness == NATIVE else entry.qualified


def _override(made: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    for where, value in flattened(overrides):
        *path, last = where
        key = ".".join(where)
        if not path or path[0] not in _ROOTS:
            raise ConfigurationError(
                f"override {key!r} begins neither with 'config.' nor with 'target.'{nearest(key, _OFTEN)}"
            )
        place = made
        for part in path:
            if not isinstance(place.setdefault(part, {}), dict):
                raise ConfigurationError(f"override {key!r} goes below {part!r}, which is {place[part]!r}")
            place = place[part]
        place[last] = value


_OFTEN = [
    "config.params.limit_samples", "config.params.max_new_tokens", "config.params.parallelism",
    "config.params.request_timeout", "config.params.temperature", "config.params.top_p",
    "target.api_endpoint.adapter_config", "target.api_endpoint.model_id",
]  # fmt: skip


def _deployment(launch: LaunchConfig) -> Deployment | None:
    given = dict(launch.deployment)
    kind = given.pop("type", "command")
    if kind == "none":
        if given:
            raise ConfigurationError(f"deployment: none takes nothing, but there is: {', '.join(sorted(given))}")
        return None
    known = {name: given.pop(name) for name in list(given) if name in Deployment.model_fields and name != "values"}
    extra = given.pop("extra_args", None) or []
    command = [*(known.get("command") or []), *(str(word) for word in extra)]
    return _checked(Deployment, {**known, "command": [str(word) for word in command], "values": given}, "deployment.")


def _checked(model: type[M], document: Mapping[str, Any], where: str) -> M:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError("\n".join(f"{where}{line}" for line in explain(error).splitlines())) from None
