"""The reference's flat flags (`use_caching: true`, …), turned into a list of interceptors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from proxy.core.redact import Redactor

M = TypeVar("M", bound=BaseModel)


class LegacyError(Exception):
    """Flags that cannot be turned into interceptors; each line names one, its value and the way out."""


class AdapterKeys(BaseModel):
    """What stands beside `interceptors` in the reference's `adapter_config`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    mode: Literal["server", "client"] | None = None
    endpoint_type: str | None = None
    log_failed_requests: bool | None = None
    include_json: bool | None = None
    generate_html_report: bool | None = None
    html_report_size: int | None = None
    discovery: dict[str, list[str]] | None = None
    post_eval_hooks: list[Any] | None = None


class Flags(BaseModel):
    """The flags; None where one is not given, and this sidecar's default holds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    use_caching: bool | None = None
    caching_dir: str | None = None
    save_requests: bool | None = None
    save_responses: bool | None = None
    max_saved_requests: int | None = None
    max_saved_responses: int | None = None
    use_system_prompt: bool | None = None
    custom_system_prompt: str | None = None
    use_request_logging: bool | None = None
    max_logged_requests: int | None = None
    use_response_logging: bool | None = None
    max_logged_responses: int | None = None
    use_reasoning: bool | None = None
    process_reasoning_traces: bool | None = None
    start_reasoning_token: str | None = None
    end_reasoning_token: str | None = None
    include_if_reasoning_not_finished: bool | None = None
    track_reasoning: bool | None = None
    use_progress_tracking: bool | None = None
    progress_tracking_url: str | None = None
    progress_tracking_interval: int | None = None
    use_raise_client_errors: bool | None = None
    tracking_requests_stats: bool | None = None
    logging_aggregated_stats_interval: int | None = None
    output_dir: str | None = None
    params_to_add: dict[str, Any] | None = None
    params_to_remove: list[str] | None = None
    params_to_rename: dict[str, str] | None = None
    headers_to_add: dict[str, str] | None = None
    headers_to_remove: list[str] | None = None
    headers_to_rename: dict[str, str] | None = None
    use_nvcf: bool | None = Field(None, description="cannot be honored")
    use_omni_info: bool | None = Field(None, description="cannot be honored")


BESIDE = frozenset(AdapterKeys.model_fields)
FLAT = frozenset(Flags.model_fields)

_CANNOT = {
    "use_nvcf": "its polling is not spoken here; set upstream.url to NVIDIA's OpenAI-compatible endpoint, and"
    " upstream.api_key_name to the variable with its key",
    "use_omni_info": "it sends headers of one company's gateway; write them as headers_to_add",
}
_NEEDS = {
    "custom_system_prompt": ("use_system_prompt",),
    "start_reasoning_token": ("process_reasoning_traces", "use_reasoning"),
    "end_reasoning_token": ("process_reasoning_traces", "use_reasoning"),
    "include_if_reasoning_not_finished": ("process_reasoning_traces", "use_reasoning"),
    "track_reasoning": ("process_reasoning_traces", "use_reasoning"),
    "progress_tracking_url": ("use_progress_tracking",),
    "progress_tracking_interval": ("use_progress_tracking",),
}
"""Flags without an effect while the switch, off by default, is not mentioned. A switch that is off says so itself."""
_REPORTS = frozenset({"generate_html_report", "html_report_size", "include_json"})
_PROGRESS = ("progress_tracking_url", "progress_tracking_interval", "output_dir")
_PAYLOAD = tuple(f"{kind}_to_{what}" for kind in ("params", "headers") for what in ("remove", "rename", "add"))


def converted(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the configuration without the reference's own keys, and what the operator is to be told.

    Raises:
        LegacyError: a flag cannot be honored, has no effect, or stands beside `interceptors`.
    """
    flat = [name for name, value in values.items() if name in FLAT and value is not None]
    if not values.keys() & (FLAT | BESIDE):
        return dict(values), []
    if flat and values.get("interceptors") is not None:
        raise LegacyError(
            f"'{flat[0]}' is a flag of the older form, and 'interceptors' is the newer one; keep one of them"
            " (evalside check prints the flags in the newer form where 'interceptors' is absent)"
        )
    rest = {name: value for name, value in values.items() if name not in FLAT | BESIDE}
    notes = _beside(_read(AdapterKeys, values))
    if flat:
        rest["interceptors"] = _interceptors(_read(Flags, values))
        shown = yaml.safe_dump(Redactor().document({"interceptors": rest["interceptors"]}), sort_keys=False)
        notes.append(f"flat flags ({', '.join(flat)}) are the older form; the same in the newer one is:\n{shown}")
    return rest, notes


def _read(model: type[M], values: Mapping[str, Any]) -> M:
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        said = ["'{}': {}".format(".".join(map(str, item["loc"])), item["msg"]) for item in error.errors()]
        raise LegacyError("\n".join(said)) from None


def _beside(keys: AdapterKeys) -> list[str]:
    """Return notes on what means nothing here.

    Raises:
        LegacyError: one of them would mean something that is not there.
    """
    if keys.mode == "client":
        raise LegacyError("'mode' is 'client': the sidecar is always a server of its own; remove it")
    named = [item for items in (keys.discovery or {}).values() for item in items]
    if named:
        raise LegacyError(
            f"'discovery' names '{named[0]}': interceptors of your own are listed under 'interceptors', by"
            " module:attribute (see the guide 'Write an interceptor')"
        )
    hooks = [hook if isinstance(hook, str) else hook.get("name") for hook in keys.post_eval_hooks or ()]
    other = [hook for hook in hooks if hook != "post_eval_report"]
    if other:
        raise LegacyError(f"'post_eval_hooks' has '{other[0]}': the sidecar has no hooks; run it after the evaluation")
    given = keys.model_dump(exclude_none=True)
    notes = []
    if hooks or given.keys() & _REPORTS:
        notes.append("reports are made on demand from the log, whatever the flags of reports say")
    if keys.log_failed_requests is not None:
        notes.append("'log_failed_requests' means nothing here: every exchange is logged, failed ones too")
    if keys.endpoint_type is not None:
        notes.append("'endpoint_type' means nothing here: every request has its own route")
    return notes


def _interceptors(flags: Flags) -> list[dict[str, Any]]:
    given = flags.model_dump(exclude_none=True)
    wrong = [f"'{name}' cannot be honored: {way}" for name, way in _CANNOT.items() if given.get(name)]
    for name, switches in _NEEDS.items():
        if name in given and not given.keys() & set(switches):
            wrong.append(f"'{name}' has no effect without '{switches[0]}: true'; set that, or remove it")
    if flags.use_system_prompt and not flags.custom_system_prompt:
        wrong.append("'use_system_prompt' needs 'custom_system_prompt', the prompt")
    if flags.use_progress_tracking and not (flags.progress_tracking_url or flags.output_dir):
        wrong.append("'use_progress_tracking' needs 'progress_tracking_url' or 'output_dir': nobody is told by default")
    if wrong:
        raise LegacyError("\n".join(wrong))
    return [
        {"name": name, **({"config": config} if config else {})}
        for name, config in _entries(flags, given).items()
        if config is not None
    ]


def _entries(flags: Flags, given: Mapping[str, Any]) -> dict[str, dict[str, Any] | None]:
    """Return each interceptor's options; None leaves it out. What the default pipeline has stays, unless it is off."""

    def options(names: Mapping[str, str]) -> dict[str, Any]:
        return {option: given[flag] for flag, option in names.items() if flag in given}

    reasoning = flags.use_reasoning or flags.process_reasoning_traces
    payload = {name: given[name] for name in _PAYLOAD if given.get(name)}
    caching = options(
        {"caching_dir": "cache_dir", **{name: name for name in given if name.startswith(("save_", "max_saved_"))}}
    )
    if flags.output_dir is not None:
        caching.setdefault("cache_dir", str(PurePath(flags.output_dir) / "cache"))
    return {
        "request_logging": _on(flags.use_request_logging, options({"max_logged_requests": "max_requests"})),
        "response_logging": _on(flags.use_response_logging, options({"max_logged_responses": "max_responses"})),
        "response_stats": _on(
            flags.tracking_requests_stats,
            options({"logging_aggregated_stats_interval": "logging_aggregated_stats_interval"}),
        ),
        "progress_tracking": _off(
            flags.use_progress_tracking,
            {
                **options({name: name for name in _PROGRESS}),
                "request_method": "POST",
            },
        ),
        "raise_client_errors": _off(flags.use_raise_client_errors, {}),
        "system_message": _off(flags.use_system_prompt, options({"custom_system_prompt": "system_message"})),
        "payload_modifier": payload or None,
        "reasoning": _off(
            reasoning,
            options(
                {
                    "start_reasoning_token": "start_reasoning_token",
                    "end_reasoning_token": "end_reasoning_token",
                    "include_if_reasoning_not_finished": "include_if_not_finished",
                    "track_reasoning": "enable_reasoning_tracking",
                }
            ),
        ),
        "caching": _on(flags.use_caching, caching),
    }


def _on(switch: bool | None, options: dict[str, Any]) -> dict[str, Any] | None:
    return None if switch is False else options


def _off(switch: bool | None, options: dict[str, Any]) -> dict[str, Any] | None:
    return options if switch else None
