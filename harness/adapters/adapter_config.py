"""The interceptors of a run's sidecar, in the form the reference system uses."""

from typing import Any

from pydantic import Field

from harness.strict import StrictModel


class InterceptorConfig(StrictModel):
    """One interceptor: its name, whether it takes part, and its options (the sidecar checks those)."""

    name: str
    enabled: bool = True
    config: dict[str, Any] = Field(default_factory=dict)


class AdapterConfig(StrictModel):
    """The pipeline of the sidecar. A bare string is a name with default options.

    None (the default) is the sidecar's default pipeline; an empty list is a pure relay.
    """

    interceptors: list[InterceptorConfig | str] | None = None
