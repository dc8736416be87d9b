"""What the operator configures: CLI over environment over YAML over defaults. Frozen, and strict about names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from proxy import legacy
from proxy.core.nearest import did_you_mean
from proxy.core.redact import Redactor

PREFIX = "EVALSIDE_"
CONFIG_VARIABLE = "EVALSIDE_CONFIG"
NOBODY = "http://model-server.invalid"
"""The model server of a replay that names none. RFC 2606 keeps `.invalid` free, so nothing is ever there."""

_INJECTED = re.compile(r"EVALSIDE_(SERVICE_(HOST|PORT)(_.+)?|PORT_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INJECTED_PORT = re.compile(r"(tcp|udp)://")


class ConfigError(Exception):
    """A configuration that cannot be used; each line of the message names a thing, its value and the way out."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TimeoutSettings(_Strict):
    """Seconds; null waits for ever."""

    connect: PositiveFloat | None = Field(5.0, description="until a connection is accepted")
    first_byte: PositiveFloat | None = Field(600.0, description="until a streamed answer begins")
    idle: PositiveFloat | None = Field(120.0, description="between two chunks of a streamed answer")


class UpstreamSettings(_Strict):
    """The model server."""

    url: str = Field(description="origin, …/v1, or a full endpoint URL: all three mean the same server")
    model_id: str | None = Field(None, description="filled in when a request names no model")
    model_aliases: dict[str, str] = Field({}, description="model names of clients -> names of the server")
    api_key_name: str | None = Field(None, description="name of the environment variable that holds the server's key")
    namespace: str | None = Field(
        None, min_length=1, description="identity of the model in the cache, in place of what the server says of itself"
    )
    canary: str | None = Field(
        None,
        min_length=1,
        description="a prompt whose greedy answer tells a restarted server with the same model from another",
    )
    timeout: TimeoutSettings = Field(TimeoutSettings(), description="time limits")


class AuthSettings(_Strict):
    """Who may use the sidecar."""

    token_name: str | None = Field(None, description="name of the environment variable that holds the client token")
    anonymous: bool = Field(False, description="serve beyond loopback without a token, knowingly")


class RetentionSettings(_Strict):
    """What may be deleted from the store, oldest first; null keeps everything."""

    cache_max_age_days: PositiveFloat | None = Field(None, description="age of answers")
    cache_max_bytes: PositiveInt | None = Field(None, description="size of all answers")
    log_max_age_days: PositiveFloat | None = Field(None, description="age of logged exchanges")
    log_max_bytes: PositiveInt | None = Field(None, description="size of all logged exchanges")


class InterceptorSpec(_Strict):
    """One entry of `interceptors`; a bare string is a name with its defaults."""

    name: str
    enabled: bool = True
    config: dict[str, Any] = {}


class Settings(BaseSettings):
    """The whole configuration. Made by hand it is its arguments; `load_settings` reads file and environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_parse_none_str="null",
        env_ignore_empty=True,  # compose files pass variables that are not set as empty ones
        frozen=True,
        extra="forbid",
    )

    upstream: UpstreamSettings = Field(description="the model server")
    replay: Path | None = Field(
        None, description="a bundle that is replayed (evalside cache export); no model server is needed or asked"
    )
    replay_dir: Path | None = Field(
        None, description="folder of the store that a replay works on; null is a temporary one, removed at the end"
    )
    store: str = Field(
        "sqlite:///./.evalside/evalside.db",
        description="sqlite:///PATH; three slashes and a relative path, or four for an absolute one",
    )
    retention: RetentionSettings = Field(RetentionSettings(), description="what may be deleted from the store")
    auth: AuthSettings = Field(AuthSettings(), description="who may use the sidecar")
    allowed_hosts: tuple[str, ...] = Field((), description="Host names accepted on /-/ beside loopback")
    max_body_bytes: PositiveInt = Field(64 * 1024 * 1024, description="larger request bodies are 413")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what goes to the console")
    strict: bool = Field(False, description="an interceptor that would change a request or an answer is an error")
    interceptors: tuple[InterceptorSpec, ...] | None = Field(
        None, description="the pipeline in any order; [] relays only, absent is the default pipeline"
    )

    _notes: tuple[str, ...] = PrivateAttr(())

    @property
    def notes(self) -> tuple[str, ...]:
        """What the operator is to be told of the configuration, which works."""
        return self._notes

    @field_validator("interceptors", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple({"name": item} if isinstance(item, str) else item for item in value)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing but the arguments: `load_settings` puts them together, once."""
        return (init_settings,)


class OfflineSettings(Settings):
    """The same configuration for commands that ask no model server: `upstream` may be left out."""

    upstream: UpstreamSettings | None = Field(None, description="the model server")  # type: ignore[assignment]


S = TypeVar("S", bound=Settings)


@overload
def load_settings(config: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings: ...
@overload
def load_settings(config: Path | None, overrides: Mapping[str, Any] | None, kind: type[S]) -> S: ...
def load_settings(
    config: Path | None = None, overrides: Mapping[str, Any] | None = None, kind: type[Settings] = Settings
) -> Settings:
    """Return the settings.

    Args:
        config: a YAML file; without one, the file that `EVALSIDE_CONFIG` names, if any.
        overrides: what the command line says, in the YAML's form.
        kind: what is made of them.

    Raises:
        ConfigError: something is unknown, missing or wrong.
    """
    if config is None and os.environ.get(CONFIG_VARIABLE):
        config = Path(os.environ[CONFIG_VARIABLE])
    _check_json()
    try:
        from_environment = EnvSettingsSource(Settings)()
    except SettingsError as error:
        raise ConfigError(
            f"an {PREFIX} variable is not readable: {error}; lists and maps are written as JSON"
        ) from None
    values: dict[str, Any] = {}
    for source in (_read_yaml(config) if config is not None else {}, from_environment, overrides or {}):
        values = _merged(values, source)
    _check_environment(_named_variables(values))
    if values.get("replay") is not None:
        values.setdefault("upstream", {"url": NOBODY})
    try:
        values, notes = legacy.converted(values)
        settings = kind(**values)
    except legacy.LegacyError as error:
        raise ConfigError(str(error)) from None
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None
    settings._notes = tuple(notes)  # noqa: SLF001 - only here do they come about
    return settings


_JSON_VARIABLES = ("EVALSIDE_ALLOWED_HOSTS", "EVALSIDE_UPSTREAM__MODEL_ALIASES")
"""Variables that mean nothing unless they are JSON."""


def _check_json() -> None:
    """Name the variable whose list or map is not JSON; pydantic-settings would name its field, or nothing."""
    for name, value in os.environ.items():
        if name in _JSON_VARIABLES or (name.startswith(PREFIX) and value.lstrip().startswith(("[", "{"))):
            try:
                json.loads(value)
            except ValueError as error:
                raise ConfigError(
                    f"variable '{name}' is not JSON ({error}); lists and maps are written as JSON, for example [\"a\"]"
                ) from None


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, `above` where they differ; maps are merged, lists are not."""
    both = dict(below)
    for name, value in above.items():
        under = below.get(name)
        both[name] = _merged(under, value) if isinstance(under, dict) and isinstance(value, Mapping) else value
    return both


def secret(name: str | None, key: str) -> str | None:
    """Return the value of the environment variable `name`, None where no name is configured.

    Raises:
        ConfigError: the variable is not set, or empty.
    """
    if name is None:
        return None
    if not _VARIABLE.fullmatch(name):  # not shown: it may be the secret itself
        raise ConfigError(f"{key} holds something that is no variable name; it takes the variable's name, never a key")
    value = os.environ.get(name, "").strip()
    if not value:
        raise ConfigError(f"{key}: the environment variable '{name}' is not set; export {name}=…, or remove {key}")
    if not value.isprintable():
        raise ConfigError(f"{key}: the value of '{name}' has line breaks or control characters; export it without them")
    return value


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a mapping names each key once: of two, one would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping, as the loader makes it."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"'{name}' is there twice in one mapping (line {node.start_mark.line + 1}); keep one")
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    if path.is_fifo():
        raise ConfigError(
            f"config file '{path}' is a pipe, which can be read once, and every worker reads it; write it to a file"
        )
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError(
            f"config file '{path}' cannot be read ({error.strerror}); name another with --config or {CONFIG_VARIABLE}"
        ) from None
    except yaml.MarkedYAMLError as error:  # its own text quotes the file, which may hold secrets
        mark = error.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise ConfigError(f"config file '{path}' is not YAML: {error.problem}{where}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"config file '{path}' is not YAML: {error}") from None
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(name, str) for name in document):
        raise ConfigError(f"config file '{path}' must hold a mapping, for example 'upstream: {{url: …}}'")
    return document


def _named_variables(value: Any) -> set[str]:
    """Return the variables that `*_name` keys name, at any depth."""
    if isinstance(value, list | tuple):
        return set().union(*map(_named_variables, value))
    if not isinstance(value, Mapping):
        return set()
    named = {item for name, item in value.items() if isinstance(item, str) and str(name).endswith("_name")}
    return named.union(*map(_named_variables, value.values()))


def _check_environment(named: set[str]) -> None:
    valid = {*_variables(Settings, PREFIX), CONFIG_VARIABLE}
    for name, value in os.environ.items():
        if not name.startswith(PREFIX) or name in named or name in valid:
            continue
        injected = _INJECTED.fullmatch(name) or (name == "EVALSIDE_PORT" and _INJECTED_PORT.match(value))
        if not injected:
            raise ConfigError(
                f"unknown variable '{name}'{did_you_mean(name, valid)} (a variable that holds a key or token is known"
                " once api_key_name or token_name names it)"
            )


def _variables(model: type[BaseModel], prefix: str) -> list[str]:
    """Return every variable name that sets something in `model`."""
    names = []
    for name, field in model.model_fields.items():
        names.append(prefix + name.upper())
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += _variables(field.annotation, f"{prefix}{name.upper()}__")
    return names


def _explain(error: ValidationError) -> str:
    return "\n".join(_explain_one(dict(item)) for item in error.errors(include_url=False))


_EXPECTED = {
    "string_too_short": "write something, or leave it out",
    "model_type": "it takes a mapping of its own keys, for example {url: …}",
    "tuple_type": "it takes a list, for example [caching]",
}
"""What pydantic says in its own terms, in those of the YAML file."""


def _explain_one(item: Mapping[str, Any]) -> str:
    location = list(item["loc"])
    key = ".".join(str(part) for part in location)
    if item["type"] == "extra_forbidden":
        names = _names_at(location[:-1])
        if len(location) == 1 and get_close_matches(key, legacy.FLAT, n=1, cutoff=0.8):
            names += legacy.FLAT
        return f"unknown key '{key}'{did_you_mean(str(location[-1]), names)}"
    if item["type"] == "missing":
        if any(isinstance(part, int) for part in location):
            return f"'{key}' is missing"
        if location == ["upstream"]:
            location = ["upstream", "url"]
        variable = PREFIX + "__".join(str(part).upper() for part in location)
        key = ".".join(str(part) for part in location)
        return f"'{key}' is missing; set it in the YAML file, as {variable}, or with --upstream"
    return f"'{key}' is {shown(key, item['input'])}: {_EXPECTED.get(item['type'], item['msg'])}"


def shown(key: str, value: Any) -> str:
    """Return a configured value for an error message: no secrets, and nothing long."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple | set | frozenset):
        return "a list"
    name = key.rpartition(".")[2]
    redacted = Redactor().document({"headers": {name: value}})["headers"][name]
    return repr(redacted)[:100]


def _names_at(location: list[Any]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in location:
        if isinstance(part, int):
            model = InterceptorSpec
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return list(model.model_fields)
