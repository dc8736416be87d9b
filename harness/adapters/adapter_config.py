"""The interceptors of a run's sidecar, in the form the reference system uses."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.strict import StrictModel, nearest

FLAGS = frozenset(
    {
        "use_caching", "caching_dir", "save_requests", "save_responses", "max_saved_requests", "max_saved_responses",
        "use_system_prompt", "custom_system_prompt", "use_request_logging", "max_logged_requests",
        "use_response_logging", "max_logged_responses", "use_reasoning", "process_reasoning_traces",
        "start_reasoning_token", "end_reasoning_token", "include_if_reasoning_not_finished", "track_reasoning",
        "use_progress_tracking", "progress_tracking_url", "progress_tracking_interval", "use_raise_client_errors",
        "tracking_requests_stats", "logging_aggregated_stats_interval", "output_dir", "params_to_add",
        "params_to_remove", "params_to_rename", "headers_to_add", "headers_to_remove", "headers_to_rename", "use_nvcf",
        "use_omni_info", "include_json", "generate_html_report", "html_report_size",
    }
)  # fmt: skip
"""The reference system's older form of a pipeline. The sidecar turns them into interceptors, or says why it cannot."""


class InterceptorConfig(StrictModel):
    """One interceptor: its name, whether it takes part, and its options (the sidecar checks those)."""

    name: str
    enabled: bool = True
    config: dict[str, Any] = Field(default_factory=dict)


class PostEvalHookConfig(StrictModel):
    """One hook of the reference system. The only one is `post_eval_report`: reports need no asking for here."""

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
                f"discovery of {value[0]!r} is not done: classes of the reference system run in no other, and an "
                "interceptor of your own is named in the list of interceptors by where it is, as in "
                "`- my_module:PLUGIN`; see the guide 'Write an interceptor'"
            )
        return value


class AdapterConfig(StrictModel):
    """The pipeline of the sidecar. A bare string is a name with default options.

    `interceptors` None (the default) is the sidecar's default pipeline; an empty list is a pure relay. `mode` `client`
    is for the clients of `harness.client`. `endpoint_type` is the type of an endpoint that says nothing else.
    `log_failed_requests` may be either: the sidecar logs failed requests like all others. The reference system's flat
    flags (`use_caching`, …) are taken as keys too, and kept in `flags`.
    """

    mode: Literal["server", "client"] = "server"
    discovery: DiscoveryConfig = Field(default_factory=DiscoveryConfig)
    interceptors: list[InterceptorConfig | str] | None = None
    post_eval_hooks: list[PostEvalHookConfig | str] = Field(default_factory=list)
    endpoint_type: Literal["chat", "completions", "completions_logprob", "embedding", "vlm"] | None = None
    log_failed_requests: bool = False
    flags: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _flags_apart(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        flags = {name: value for name, value in data.items() if name in FLAGS}
        rest = {name: value for name, value in data.items() if name not in FLAGS}
        for name in rest:
            if name not in cls.model_fields:
                raise ValueError(
                    f"unknown field {name!r} of AdapterConfig{nearest(str(name), [*cls.model_fields, *FLAGS])}"
                )
        if flags and rest.get("interceptors") is not None:
            raise ValueError(
                f"{min(flags)!r} is a flag of the older form, interceptors the newer one; keep one of them"
            )
        return {**rest, "flags": {**rest.get("flags", {}), **flags}} if flags else rest

    @field_validator("post_eval_hooks")
    @classmethod
    def _known_hooks(cls, value: list[PostEvalHookConfig | str]) -> list[PostEvalHookConfig | str]:
        for hook in value:
            name = hook if isinstance(hook, str) else hook.name
            if name != "post_eval_report":
                raise ValueError(
                    f"post_eval_hooks has {name!r}; run it yourself after the evaluation, and leave it out"
                )
        return value

    def settings(self) -> dict[str, Any]:
        """What of this the sidecar is told, in the form of its YAML."""
        return {**self.flags, **self.model_dump(mode="json", include={"interceptors"}, exclude_none=True)}
