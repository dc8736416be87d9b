"""The interceptors of a run's sidecar, in the form the reference system uses."""

from typing import Any, Literal

from pydantic import Field, field_validator

from harness.strict import StrictModel


class InterceptorConfig(StrictModel):
    """One interceptor: its name, whether it takes part, and its options (the sidecar checks those)."""

    name: str
    enabled: bool = True
    config: dict[str, Any] = Field(default_factory=dict)


class PostEvalHookConfig(StrictModel):
    """One hook of the reference system; none is taken, see AdapterConfig."""

    name: str
    enabled: bool = True
    config: dict[str, Any] = Field(default_factory=dict)


class DiscoveryConfig(StrictModel):
    """Where the reference system looks for interceptors of others; nothing but empty lists is taken."""

    modules: list[str] = Field(default_factory=list)
    dirs: list[str] = Field(default_factory=list)

    @field_validator("modules", "dirs")
    @classmethod
    def _installed_instead(cls, value: list[str]) -> list[str]:
        if value:
            raise ValueError(
                f"discovery of {value[0]!r} is not supported: an interceptor of one's own is an installed package with "
                "the entry point evalside.interceptors, and is then known by its name"
            )
        return value


class AdapterConfig(StrictModel):
    """The pipeline of the sidecar. A bare string is a name with default options.

    `interceptors` None (the default) is the sidecar's default pipeline; an empty list is a pure relay. `mode` `client`
    is for the clients of `harness.client`. `endpoint_type` is the type of an endpoint that says nothing else.
    `log_failed_requests` may be either: the sidecar logs failed requests like all others.
    """

    mode: Literal["server", "client"] = "server"
    discovery: DiscoveryConfig = Field(default_factory=DiscoveryConfig)
    interceptors: list[InterceptorConfig | str] | None = None
    post_eval_hooks: list[PostEvalHookConfig | str] = Field(default_factory=list)
    endpoint_type: Literal["chat", "completions", "completions_logprob", "embedding", "vlm"] | None = None
    log_failed_requests: bool = False

    @field_validator("post_eval_hooks")
    @classmethod
    def _no_hooks(cls, value: list[PostEvalHookConfig | str]) -> list[PostEvalHookConfig | str]:
        for hook in value:
            name = hook if isinstance(hook, str) else hook.name
            if isinstance(hook, str) or hook.enabled:
                raise ValueError(
                    f"post_eval_hooks has {name!r}; nothing runs after an evaluation but what the command line is "
                    "asked for: leave it out, or set enabled: false"
                )
        return value

    def settings(self) -> dict[str, Any]:
        """What of this the sidecar is told, in the form of its YAML."""
        return self.model_dump(mode="json", include={"interceptors"}, exclude_none=True)
