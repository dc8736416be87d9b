"""What a task takes in `params.extra`, checked."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from harness.errors import ConfigurationError, explain
from harness.strict import StrictModel

Options = TypeVar("Options", bound=StrictModel)


def options(model: type[Options], task: str, extra: Mapping[str, Any]) -> Options:
    """`extra` as the task's options. Raises ConfigurationError that names every wrong one."""
    if extra and not model.model_fields:
        raise ConfigurationError(f"task {task!r} takes no params.extra, but there is: {', '.join(sorted(extra))}")
    try:
        return model.model_validate(dict(extra))
    except ValidationError as error:
        raise ConfigurationError(f"params.extra of task {task!r}: {explain(error)}") from None
