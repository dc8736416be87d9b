"""What a driver is: how a foreign harness is called, and how its files are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from harness.api import ConfigParams, EndpointType, EvaluationResult, MetricResult, Score, ScoreStats
from harness.errors import ConfigurationError, HarnessError
from harness.strict import nearest

Row = dict[str, Any]
"""A record of `samples.jsonl`."""

NO_KEY = "unused"
"""What a harness gets for an API key where it insists on one: the sidecar holds the real one."""


class OutputError(HarnessError):
    """A harness ended well and left no results where they are expected, or not in the form that is known."""


@dataclass(frozen=True)
class Ask:
    """What a harness is asked to do.

    `task` is the harness's own name of it, `base_url` ends with `/v1`, `folder` exists and is for the harness's files
    alone. `options` are the task's `params.extra`.
    """

    task: str
    base_url: str
    model: str
    kind: EndpointType
    folder: Path
    params: ConfigParams = field(default_factory=ConfigParams)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def limit(self) -> int | float | None:
        """`limit_samples`, but None for the share 1.0: harnesses take that for one sample."""
        limit = self.params.limit_samples
        return None if isinstance(limit, float) and limit == 1 else limit

    @property
    def parallelism(self) -> int:
        """Requests in flight."""
        return self.params.parallelism or 4


@dataclass(frozen=True)
class Call:
    """One command. `argv[0]` is a program of the environment, `env` is added to what the environment has.

    `reads` are files and folders that it reads, beside its own folder and `cwd`: a container has to be given them.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    reads: tuple[Path, ...] = ()


class Outcome(NamedTuple):
    """What came of it: scores in the common schema, and a row for each sample that the harness tells of."""

    result: EvaluationResult
    rows: list[Row]


class Driver(Protocol):
    """Runs one harness. `requirements` is what pip installs; `options` are the keys of `params.extra`, explained.

    `imported` is for a harness that asks for gigabytes which the driver's calls never import: what is installed with
    it instead. Empty means all that it asks for.
    """

    @property
    def name(self) -> str: ...

    @property
    def requirements(self) -> tuple[str, ...]: ...

    @property
    def imported(self) -> tuple[str, ...]: ...

    @property
    def options(self) -> Mapping[str, str]: ...

    def calls(self, ask: Ask) -> list[Call]:
        """The commands, run one after another. Raises ConfigurationError for what the harness cannot do."""
        ...

    def outcome(self, ask: Ask) -> Outcome:
        """What its files say. Raises OutputError."""
        ...


COMMON_OPTIONS: Mapping[str, str] = {
    "python": "the Python of an environment that has the harness; null makes one",
    "image": "a container image that has the harness, run with docker or podman",
    "args": "list of further arguments, as they are",
    "env": "map of further environment variables",
}
"""Options of every driver, with their meaning."""


DATA_DIR = "folder that holds data sets by their hub names, for work without a network"
"""The meaning of the option `data_dir`, of drivers whose harness reads data sets through the package `datasets`."""


def beside_data(call: Call, ask: Ask) -> Call:
    """The command in the folder of `data_dir` and without the hub; as it is where none is named."""
    data = ask.options.get("data_dir")
    if data is None:
        return call
    offline = {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(ask.folder / "datasets"),
    }
    return replace(call, env={**call.env, **offline}, cwd=Path(data).resolve())


def check_options(driver: Driver, options: Mapping[str, Any]) -> None:
    """Raises ConfigurationError for an option that the driver does not take, or a common one of the wrong form."""
    known = {**COMMON_OPTIONS, **driver.options}
    for name in options:
        if name not in known:
            raise ConfigurationError(f"{driver.name} has no option {name!r}, as in params.extra{nearest(name, known)}")
    if "python" in options and "image" in options:
        raise ConfigurationError("params.extra has python and image; a harness runs in one of them")
    arguments = options.get("args", [])
    if not isinstance(arguments, list) or not all(isinstance(each, str) for each in arguments):
        raise ConfigurationError(f"params.extra.args is {arguments!r}; it takes a list of strings")
    variables = options.get("env", {})
    if not isinstance(variables, dict) or not all(isinstance(each, str) for each in variables.values()):
        raise ConfigurationError(f"params.extra.env is {variables!r}; it takes a map of strings")


def whole(options: Mapping[str, Any], name: str, *, least: int = 1) -> int | None:
    """An option that is a whole number, None where it is not given. Raises ConfigurationError for anything else."""
    value = options.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"params.extra.{name} is {value!r}; it takes a whole number, {least} or more")
    return value


def flag(options: Mapping[str, Any], name: str) -> bool:
    """An option that is true or false, false where it is not given. Raises ConfigurationError for anything else."""
    value = options.get(name)
    if value is not None and not isinstance(value, bool):
        raise ConfigurationError(f"params.extra.{name} is {value!r}; it takes true or false")
    return bool(value)


def table(options: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An option that is a map, empty where it is not given. Raises ConfigurationError for anything else."""
    value = options.get(name)
    if value is not None and not isinstance(value, Mapping):
        raise ConfigurationError(f"params.extra.{name} is {value!r}; it takes a map")
    return dict(value or {})


def refuse_params(driver: str, params: ConfigParams, names: tuple[str, ...]) -> None:
    """Raises ConfigurationError for a parameter that the harness cannot be told: none is dropped silently."""
    for name in names:
        if getattr(params, name) is not None:
            raise ConfigurationError(f"{driver} cannot be told {name}; leave it out, or pass it in params.extra.args")


def score(value: float, stderr: float | None = None, count: int | None = None) -> Score:
    """One number of a harness, with what it says of its spread."""
    return Score(value=value, stats=ScoreStats(stderr=stderr, count=count))


def metric(name: str, value: float, stderr: float | None = None, count: int | None = None) -> MetricResult:
    """A metric that has one score, of the same name."""
    return MetricResult(scores={name: score(value, stderr, count)})


def sample_row(id_: str, score_name: str, scores: Mapping[str, float], **fields: Any) -> Row:
    """A row with what the harness tells and null for the rest. Its score is the one named `score_name`."""
    empty: Row = dict.fromkeys(
        ("query", "generation", "answer", "num_prompt_tokens", "num_generated_tokens", "finish_reason", "cache")
    )
    row = {
        "id": id_,
        "sub_query_id": 0,
        **empty,
        "ground_truth": [],
        "score": scores.get(score_name),
        "score_name": score_name,
        "exchange_id": None,
        "latency_ms": 0.0,
        "attempts": 1,
        "error": None,
        "group": "",
        "scores": dict(scores),
        "unparsed": [],
    }
    return row | {"query": ""} | fields
