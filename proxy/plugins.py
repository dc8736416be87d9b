"""From interceptor names to a pipeline. Whatever is wrong with a list is found at start-up."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

from proxy import custom
from proxy.core.http import Exchange, Response
from proxy.core.nearest import did_you_mean
from proxy.core.pipeline import Interceptor, Layer, Next, Stage, in_order
from proxy.interceptors.base import (
    ROUTES,
    CannotStart,
    Config,
    KeepsStrict,
    Plugin,
    Services,
    StrictConfig,
    TransformConfig,
)
from proxy.interceptors.ledger import LedgerObserver
from proxy.settings import ConfigError, InterceptorSpec, shown
from proxy.store.base import StoreError

GROUP = "evalside.interceptors"
"""Entry point group for interceptors of other distributions; each entry is a `Plugin`."""

BUILT_IN = {
    "caching": "proxy.interceptors.caching",
    "chat_to_completions": "proxy.interceptors.chat_to_completions",
    "completions_to_chat": "proxy.interceptors.completions_to_chat",
    "consolidate_system": "proxy.interceptors.consolidate_system",
    "damping": "proxy.interceptors.damping",
    "drop_params": "proxy.interceptors.drop_params",
    "endpoint": "proxy.interceptors.endpoint",
    "finish_reason": "proxy.interceptors.finish_reason",
    "http_pairs_dump": "proxy.interceptors.http_pairs_dump",
    "limit": "proxy.interceptors.limit",
    "log_tokens": "proxy.interceptors.log_tokens",
    "logging": "proxy.interceptors.logging",
    "modify_tools": "proxy.interceptors.modify_tools",
    "normalize": "proxy.interceptors.normalize",
    "payload_modifier": "proxy.interceptors.payload_modifier",
    "progress_tracking": "proxy.interceptors.progress_tracking",
    "raise_client_errors": "proxy.interceptors.raise_client_errors",
    "reasoning": "proxy.interceptors.reasoning",
    "reasoning_replay": "proxy.interceptors.reasoning_replay",
    "request_logging": "proxy.interceptors.request_logging",
    "response_logging": "proxy.interceptors.response_logging",
    "response_stats": "proxy.interceptors.response_stats",
    "responses_to_chat": "proxy.interceptors.responses_to_chat",
    "retry": "proxy.interceptors.retry",
    "streaming": "proxy.interceptors.streaming",
    "system_message": "proxy.interceptors.system_message",
    "turn_counter": "proxy.interceptors.turn_counter",
}

DEFAULT = ("request_logging", "response_logging", "response_stats", "caching")
"""The pipeline where the configuration has no `interceptors`."""

_IMPLIED = "endpoint"
_UNLESS_OFF = "damping"
"""Implied where the list does not say `enabled: false` of it."""
_BOTH, _HALVES = "logging", ("request_logging", "response_logging")
_GUARD_RANK = -1000
_LEDGER_RANK = 1000
_OPPOSITES = frozenset({"chat_to_completions", "completions_to_chat"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One interceptor of the effective pipeline, with its validated options."""

    name: str
    plugin: Plugin[Any]
    config: Config
    code: str = ""
    """A hash of its source, where it is not one of the sidecar's own."""
    notes: tuple[str, ...] = ()
    """What the operator is to be told of its options."""

    @property
    def options(self) -> dict[str, Any]:
        """The options as JSON: the same text in every process, sets sorted."""
        options: dict[str, Any] = json.loads(json.dumps(self.config.model_dump(), default=_plain))
        return options


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | frozenset) else str(value)


def find_plugin(name: str) -> Plugin[Any]:
    """Return the interceptor of this name: a built-in one, an installed one, or one at `module:attribute`.

    Raises:
        ConfigError: there is none, or it cannot be loaded.
    """
    if custom.is_custom(name):
        return custom.load(name)
    if name in BUILT_IN:
        plugin = import_module(BUILT_IN[name]).PLUGIN
        assert isinstance(plugin, Plugin)
        return plugin
    installed = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in installed:
        raise ConfigError(f"unknown interceptor '{name}'{did_you_mean(name, [*BUILT_IN, *installed])}")
    sources = {entry.value for entry in entry_points(group=GROUP, name=name)}
    if len(sources) > 1:
        raise ConfigError(f"interceptor '{name}' is installed twice ({', '.join(sorted(sources))}); uninstall one")
    try:
        plugin = installed[name].load()
    except Exception as error:
        raise ConfigError(
            f"interceptor '{name}' ({installed[name].value}) cannot be loaded: {error!r}; repair or uninstall it"
        ) from error
    if not isinstance(plugin, Plugin):
        raise ConfigError(f"interceptor '{name}' ({installed[name].value}) is not a Plugin; repair or uninstall it")
    return plugin


def _code(name: str) -> str:
    """Return a hash of the source of an interceptor that is not built in."""
    if name in BUILT_IN:
        return ""
    modules = [entry.value.partition(":")[0] for entry in entry_points(group=GROUP, name=name)]
    return custom.digest(name.partition(":")[0] if custom.is_custom(name) else modules[0])


def plan(specs: Sequence[InterceptorSpec] | None) -> list[Entry]:
    """Return the effective pipeline in its order, options validated; empty for a pure relay.

    Raises:
        ConfigError: unknown interceptors or options, wrong values, or one listed twice; a line for each mistake.
    """
    if specs is None:
        specs = [InterceptorSpec(name=name) for name in DEFAULT]
    enabled = [spec for spec in specs if spec.enabled]
    if not enabled:
        return []
    if all(spec.name != _IMPLIED for spec in enabled):
        enabled.append(InterceptorSpec(name=_IMPLIED))
    if all(spec.name != _UNLESS_OFF for spec in specs):
        enabled.append(InterceptorSpec(name=_UNLESS_OFF))
    listed = Counter(spec.name for spec in enabled)
    wrong = [f"interceptor '{name}' is listed twice; keep one entry" for name, times in listed.items() if times > 1]
    if _BOTH in listed:
        wrong += [
            f"interceptor '{name}' is a part of '{_BOTH}'; keep one of them" for name in _HALVES if name in listed
        ]
    entries = []
    for spec in enabled:
        try:
            entries.append(_entry(spec))
        except ConfigError as error:
            wrong.append(str(error))
    if listed.keys() >= _OPPOSITES:
        wrong.append(
            f"{' and '.join(sorted(_OPPOSITES))} undo each other; keep the one to the route that the server has"
        )
    if wrong:
        raise ConfigError("\n".join(wrong))
    entries += _implied(entries)
    return sorted(entries, key=lambda entry: (entry.plugin.layer, entry.plugin.rank))


def _implied(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries that options of `endpoint` stand for.

    Raises:
        ConfigError: one of them is listed, too.
    """
    options = next(entry.options for entry in entries if entry.name == _IMPLIED)
    wanted = {}
    if options["max_retries"]:
        wanted["retry"] = {name: options[name] for name in ("max_retries", "retry_on_status")}
    if options["max_concurrent"]:
        wanted["limit"] = {"max_concurrent": options["max_concurrent"]}
    for entry in entries:
        if entry.name in wanted:
            said = ", ".join(wanted[entry.name])
            raise ConfigError(f"'{entry.name}' is listed, and 'endpoint' has options of it ({said}); keep one of them")
    return [_entry(InterceptorSpec(name=name, config=config)) for name, config in wanted.items()]


def _entry(spec: InterceptorSpec) -> Entry:
    plugin = find_plugin(spec.name)
    unneeded = {name: why for name, why in plugin.config.unneeded.items() if name in spec.config}
    try:
        config = plugin.config.model_validate({name: spec.config[name] for name in spec.config if name not in unneeded})
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(spec.name, plugin, dict(item)) for item in error.errors())) from None
    unknown = sorted(config.routes - ROUTES) if isinstance(config, TransformConfig) else []
    if unknown:
        raise ConfigError(
            "\n".join(
                f"interceptor '{spec.name}': unknown route '{route}'{did_you_mean(route, ROUTES)}" for route in unknown
            )
        )
    notes = tuple(f"'{name}' of '{spec.name}' does nothing here: {why}" for name, why in unneeded.items())
    return Entry(spec.name, plugin, config, _code(spec.name), notes)


def _explain(name: str, plugin: Plugin[Any], item: dict[str, Any]) -> str:
    option = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden" and option in plugin.config.elsewhere:
        return f"interceptor '{name}': option '{option}' is not here: {plugin.config.elsewhere[option]}"
    if item["type"] == "extra_forbidden":
        return f"interceptor '{name}': unknown option '{option}'{did_you_mean(option, plugin.config.model_fields)}"
    if item["type"] == "missing":
        return f"interceptor '{name}': option '{option}' is missing"
    given = f"{option} is {shown(option, item['input'])}" if option else "its options"
    return f"interceptor '{name}': {given}: {item['msg'].removeprefix('Value error, ')}"


async def build(
    entries: Sequence[Entry], services: Services, stack: AsyncExitStack, *, strict: bool = False
) -> list[Stage]:
    """Open the interceptors for as long as `stack` lives, and return their stages in order.

    With `strict`, transforms whose options say nothing else may change nothing.

    Raises:
        ConfigError: one of them cannot start.
        StoreError: its store cannot be used.
    """
    stages = []
    services = replace(services, strict=strict)
    for entry in entries:
        if _is_idle(entry, services):
            continue
        try:
            interceptor: Interceptor = await stack.enter_async_context(entry.plugin.build(entry.config, services))
        except (ConfigError, StoreError):
            raise
        except CannotStart as error:
            raise ConfigError(str(error)) from None
        except Exception as error:
            raise ConfigError(f"interceptor '{entry.name}' cannot start: {error!r}") from error
        stages.append(_stage(entry, interceptor, strict=strict))
    if any(_may_change(entry, services) for entry in entries):
        stages.append(Stage("ledger", Layer.OBSERVE, _LEDGER_RANK, LedgerObserver(services)))
    if entries:
        watched = any(_is_observer_of_others(entry) for entry in entries)
        stages.append(Stage("body check", Layer.TRANSFORM, _GUARD_RANK, _check_body, changes=watched))
    return in_order(stages)


def _stage(entry: Entry, interceptor: Interceptor, *, strict: bool) -> Stage:
    plugin, config = entry.plugin, entry.config
    routes = config.routes if isinstance(config, TransformConfig) else None
    own = config.strict if isinstance(config, StrictConfig) else False if isinstance(config, KeepsStrict) else None
    return Stage(entry.name, plugin.layer, plugin.rank, interceptor, routes, strict if own is None else own)


def _may_change(entry: Entry, services: Services) -> bool:
    """Return whether a ledger is needed. `endpoint` is always there, and mostly changes nothing."""
    if entry.name == _IMPLIED:
        models, options = services.models, entry.options
        return bool(models.default or models.aliases or options["extra_body"] or options["extra_headers"])
    return entry.plugin.layer is Layer.TRANSFORM or _is_observer_of_others(entry)


def _is_observer_of_others(entry: Entry) -> bool:
    """Return whether it should change nothing, and nobody knows whether it does: then the body check enters it."""
    return entry.plugin.layer is Layer.OBSERVE and entry.name not in BUILT_IN


def _is_idle(entry: Entry, services: Services) -> bool:
    """Return whether an interceptor has nothing to do: `endpoint`, which is always there, mostly does not."""
    idle = entry.name == _IMPLIED and not _may_change(entry, services)
    return idle and entry.options["request_timeout"] is None


async def _check_body(exchange: Exchange, call_next: Next, /) -> Response:
    """Refuse a body that is not a JSON object before anything reads it; observers have seen it by then."""
    exchange.request.body.json  # noqa: B018 - parses, or raises what the client is told
    return await call_next(exchange)


def fingerprint(entries: Sequence[Entry]) -> str:
    """Return 16 hexadecimal digits that differ where the pipeline's order or options do, or the code of others'."""
    described = [(entry.name, entry.options, *filter(None, [entry.code])) for entry in entries]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
