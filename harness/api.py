"""The configuration of an evaluation and the shape of its results, as the reference system names them.

A mistake raises pydantic's ValidationError (a ValueError) that names the field, the value and the nearest valid name.
"""

import re
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from harness.adapters.adapter_config import AdapterConfig
from harness.redact import Redactor
from harness.strict import StrictModel, nearest

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EndpointType(StrEnum):
    """What an endpoint speaks. `undefined` means: see the suffix of its URL."""

    UNDEFINED = "undefined"
    CHAT = "chat"
    COMPLETIONS = "completions"
    COMPLETIONS_LOGPROB = "completions_logprob"
    EMBEDDING = "embedding"


CAPABILITIES = frozenset(
    {"logprobs", "tools", "image_url", "image_url_with_detail", "multi_image_url", "video_url", "audio_url"}
)
"""What `required_capabilities` may name."""


def known_type(value: Any) -> Any:
    """The value of a field of type EndpointType; `vlm`, the reference system's old name of it, is chat."""
    if value == "vlm":
        return EndpointType.CHAT
    if isinstance(value, str) and value not in list(EndpointType):
        raise ValueError(f"unknown endpoint type {value!r}{nearest(value, EndpointType)}")
    return value


class ApiEndpoint(StrictModel):
    """A model server: the one under evaluation, or a judge.

    `url` is an origin, `…/v1` or a full endpoint URL: all three mean the same server. `api_key_name` is the NAME of an
    environment variable; `api_key` means the same thing. `adapter_config` None gives the sidecar's default pipeline.
    """

    url: str
    model_id: str | None = None
    api_key_name: str | None = None
    api_key: str | None = Field(default=None, exclude=True, repr=False)
    type: EndpointType | None = None
    stream: bool | None = None
    adapter_config: AdapterConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_key_name(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        names = [data[key] for key in ("api_key_name", "api_key") if data.get(key) is not None]
        if len(names) == 2 and names[0] != names[1]:
            raise ValueError("api_key and api_key_name differ; they mean the same thing, so give one of them")
        return data | {"api_key_name": names[0], "api_key": names[0]} if names else data

    @field_validator("api_key_name")  # api_key is the same, and one mistake is told once
    @classmethod
    def _name_not_key(cls, value: str | None) -> str | None:
        # The value is not shown: who gets here may have pasted the key itself.
        if value is not None and not _VARIABLE.fullmatch(value):
            raise ValueError(
                "the value is not the name of an environment variable; put the key into a variable, "
                "for example with `export MY_KEY=…`, and give its name here: 'MY_KEY'"
            )
        return value

    @field_validator("type", mode="before")
    @classmethod
    def _known_type(cls, value: Any) -> Any:
        return known_type(value)

    @field_validator("url")
    @classmethod
    def _usable_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if "@" in parts.netloc:
            raise ValueError("url holds a user name or password; put the key into a variable and use api_key_name")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(
                f"url {Redactor().url(value)!r} is not an http URL; write it like 'http://localhost:8080/v1'"
            )
        return value

    def speaks(self) -> EndpointType:
        """The endpoint's type: the one given, else the one its URL ends with, else its adapter's, else chat."""
        if self.type is not None and self.type is not EndpointType.UNDEFINED:
            return self.type
        path = urlsplit(self.url).path.rstrip("/")
        if path.endswith("/chat/completions"):
            return EndpointType.CHAT
        if path.endswith("/completions"):
            return EndpointType.COMPLETIONS
        if path.endswith("/embeddings"):
            return EndpointType.EMBEDDING
        said = self.adapter_config.endpoint_type if self.adapter_config is not None else None
        return EndpointType(known_type(said)) if said is not None else EndpointType.CHAT


class EvaluationTarget(StrictModel):
    """What is evaluated. `proxy` holds settings of its sidecar: the proxy's YAML, without `upstream.url`."""

    api_endpoint: ApiEndpoint
    proxy: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_pipeline(self) -> "EvaluationTarget":
        proxy, adapter = self.proxy or {}, self.api_endpoint.adapter_config
        upstream = proxy.get("upstream") or {}
        if isinstance(upstream, dict) and "url" in upstream:
            raise ValueError("proxy.upstream.url is given; the model server's URL is target.api_endpoint.url")
        if "interceptors" in proxy and adapter is not None and adapter.interceptors is not None:
            raise ValueError("proxy.interceptors and adapter_config.interceptors are both given; keep one of them")
        return self


class ConfigParams(StrictModel):
    """How a task is run. None means: as the task says.

    `limit_samples`: an int is that many samples, a float in (0, 1] a share, spread evenly over the task's subjects.
    `request_timeout` is in seconds, none by default. `max_retries` counts repetitions after a transport error.
    `parallelism` is requests in flight. `extra` takes the task's own options, and `body`: fields of every request.
    """

    limit_samples: int | float | None = None
    max_new_tokens: int | None = Field(default=None, ge=1)
    max_retries: int | None = Field(default=None, ge=0)
    parallelism: int | None = Field(default=None, ge=1)
    task: str | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    request_timeout: float | None = Field(default=None, gt=0)
    top_p: float | None = Field(default=None, ge=0, le=1)
    extra: dict[str, Any] = Field(default_factory=dict)

    @field_validator("limit_samples", mode="before")
    @classmethod
    def _sane_limit(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"limit_samples {value!r} is neither a number of samples nor a share")
        if isinstance(value, int) and value < 1:
            raise ValueError(f"limit_samples {value} asks for no samples; give 1 or more, or leave it out for all")
        if isinstance(value, float) and not 0 < value <= 1:
            raise ValueError(
                f"limit_samples {value} is not a share in (0, 1]; a number of samples is written without '.'"
            )
        return value

    @field_validator("extra")
    @classmethod
    def _body_is_a_map(cls, value: dict[str, Any]) -> dict[str, Any]:
        body = value.get("body", {})
        if not isinstance(body, dict):
            raise ValueError(f"extra.body is {body!r}; it takes a map of request fields, for example {{'seed': 1}}")
        return value


class JudgeConfig(StrictModel):
    """The model that grades, for tasks that need one: an endpoint, a sidecar run and limits of its own."""

    api_endpoint: ApiEndpoint
    params: ConfigParams = Field(default_factory=ConfigParams)

    @field_validator("params")
    @classmethod
    def _only_how_to_ask(cls, value: ConfigParams) -> ConfigParams:
        meaningless = sorted(value.model_fields_set & {"limit_samples", "task"})
        if meaningless:
            raise ValueError(f"{meaningless[0]} is a matter of the task; a judge is asked what the task needs")
        return value


class EvaluationConfig(StrictModel):
    """Which task to run (`type`), how, and where its files go (None: a new folder under ./evalside-results).

    `supported_endpoint_types` and `required_capabilities` narrow what the endpoint may be, as in the reference system.
    """

    type: str
    output_dir: Path | None = None
    params: ConfigParams = Field(default_factory=ConfigParams)
    judge: JudgeConfig | None = None
    supported_endpoint_types: list[EndpointType] | None = None
    required_capabilities: list[str] | None = None

    @field_validator("supported_endpoint_types", mode="before")
    @classmethod
    def _known_types(cls, value: Any) -> Any:
        return [known_type(each) for each in value] if isinstance(value, list | tuple) else value

    @field_validator("required_capabilities")
    @classmethod
    def _known_capabilities(cls, value: list[str] | None) -> list[str] | None:
        for each in value or ():
            if each not in CAPABILITIES:
                raise ValueError(f"unknown capability {each!r}{nearest(each, CAPABILITIES)}")
        return value


class EndpointModelConfig(StrictModel):
    """A model for the client mode: an endpoint, and what every request of the client says unless it says otherwise."""

    model_id: str
    url: str
    api_key_name: str | None = None
    stream: bool | None = None
    type: EndpointType | None = None
    adapter_config: AdapterConfig | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    max_new_tokens: int | None = Field(default=None, ge=1)
    max_retries: int | None = Field(default=None, ge=0)
    parallelism: int | None = Field(default=None, ge=1)
    request_timeout: float | None = Field(default=None, gt=0)
    is_base_url: bool = False
    extra: dict[str, Any] = Field(default_factory=dict)

    @field_validator("type", mode="before")
    @classmethod
    def _known_type(cls, value: Any) -> Any:
        return known_type(value)

    def endpoint(self) -> ApiEndpoint:
        """The endpoint alone. `is_base_url` changes nothing: the sidecar takes any form of URL."""
        names = ("url", "model_id", "api_key_name", "type", "adapter_config")
        return ApiEndpoint.model_validate({name: getattr(self, name) for name in names})


class _Result(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ScoreStats(_Result):
    """Of the scores of single samples. `variance` and `stddev` are the population's.

    `stderr` is that of the mean: the sample standard deviation (n - 1) over the root of n; None below two samples.
    """

    count: int | None = None
    sum: float | None = None
    sum_squared: float | None = None
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    variance: float | None = None
    stddev: float | None = None
    stderr: float | None = None


class Score(_Result):
    """One number with the statistics behind it."""

    value: float
    stats: ScoreStats = Field(default_factory=ScoreStats)


class MetricResult(_Result):
    """The scores of one metric, by name."""

    scores: dict[str, Score]


class TaskResult(_Result):
    """The metrics of one task, by name.

    `errors` counts samples that got no answer; no other metric includes those. `unparsed` counts answers that held none
    that could be read, by metric: there they score 0.
    """

    metrics: dict[str, MetricResult]


class GroupResult(_Result):
    """The metrics of a group of samples, and of the groups within it (the subjects of a task)."""

    metrics: dict[str, MetricResult]
    groups: "dict[str, GroupResult] | None" = None


class EvaluationResult(_Result):
    """What `evaluate()` gives: results by task name, and by group where a task has several subjects."""

    tasks: dict[str, TaskResult]
    groups: dict[str, GroupResult] | None = None
