"""What a run does: its tasks, what they are asked of, what is started for them. It is kept, to be taken up again."""

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from harness.api import EvaluationConfig, EvaluationTarget
from harness.strict import StrictModel

Mode = Literal["parallel", "sequential"]


class Deployment(StrictModel):
    """A model server that is started for the run, and stopped after it.

    `command` is its arguments; `{port}` becomes a free port, other names in braces are fields of `values`. `health` are
    the paths of which one has to answer 200 within `start_timeout` seconds. `url` is where it then serves.
    """

    command: list[str] = Field(min_length=1)
    model_id: str | None = None
    health: list[str] = Field(default=["/health", "/v1/triton_health", "/v1/models"], min_length=1)
    path: str = "/v1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    start_timeout: Annotated[float, Field(gt=0)] = 1800.0
    env: dict[str, str] = Field(default_factory=dict)
    values: dict[str, Any] = Field(default_factory=dict)


class Execution(StrictModel):
    """How tasks share the time: all at once or one after the other, `parallelism` requests in flight in all.

    None is the largest parallelism of one task.
    """

    mode: Mode = "parallel"
    parallelism: int | None = Field(default=None, ge=1)


class PlannedTask(StrictModel):
    """One task; its name is its own in the run."""

    name: str
    config: EvaluationConfig
    target: EvaluationTarget
    metadata: dict[str, Any] = Field(default_factory=dict)


class Plan(StrictModel):
    """All of it. With a `deployment`, the URLs of the tasks are replaced once its server answers."""

    tasks: list[PlannedTask] = Field(min_length=1)
    deployment: Deployment | None = None
    execution: Execution = Field(default_factory=Execution)

    @field_validator("tasks")
    @classmethod
    def _names_differ(cls, value: list[PlannedTask]) -> list[PlannedTask]:
        twice = [name for name, count in Counter(task.name for task in value).items() if count > 1]
        if twice:
            raise ValueError(f"two tasks are called {twice[0]!r}")
        return value
