"""What the operator configures: CLI over environment over YAML over defaults. Frozen, and strict about names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, field_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from proxy.core.nearest import did_you_mean

PREFIX = "EVALSIDE_"
CONFIG_VARIABLE = "EVALSIDE_CONFIG"

_INJECTED = re.compile(r"EVALSIDE_(SERVICE_(HOST|PORT)(_.+)?|PORT_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)")
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
    namespace: str | None = Field(None, description="identity of the model in the cache, in place of the URL")
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
    """The whole configuration."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid")

    upstream: UpstreamSettings = Field(description="the model server")
    store: str = Field(
        "sqlite:///./.evalside/evalside.db",
        description="sqlite:///PATH; three slashes and a relative path, or four for an absolute one",
    )
    retention: RetentionSettings = Field(RetentionSettings(), description="what may be deleted from the store")
    auth: AuthSettings = Field(AuthSettings(), description="who may use the sidecar")
    allowed_hosts: tuple[str, ...] = Field((), description="Host names accepted on /-/ beside loopback")
    max_body_bytes: PositiveInt = Field(64 * 1024 * 1024, description="larger request bodies are 413")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what goes to the console")
    interceptors: tuple[InterceptorSpec, ...] | None = Field(
        None, description="the pipeline in any order; [] relays only, absent is the default pipeline"
    )

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
        """Give the sources their order. The YAML file arrives under a private name in the init arguments."""
        assert isinstance(init_settings, InitSettingsSource)
        from_file = init_settings.init_kwargs.pop("_file", {})
        return init_settings, _Env(settings_cls, env_settings), InitSettingsSource(settings_cls, init_kwargs=from_file)


class _Env(PydanticBaseSettingsSource):
    """The environment without the variables that are not settings (their names were checked before)."""

    def __init__(self, settings_cls: type[BaseSettings], inner: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._inner = inner

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return self._inner.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in self._inner().items() if name in Settings.model_fields}


def load_settings(config: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings.

    Args:
        config: a YAML file; without one, the file that `EVALSIDE_CONFIG` names, if any.
        overrides: what the command line says, in the YAML's form.

    Raises:
        ConfigError: something is unknown, missing or wrong.
    """
    if config is None and os.environ.get(CONFIG_VARIABLE):
        config = Path(os.environ[CONFIG_VARIABLE])
    from_file = _read_yaml(config) if config is not None else {}
    _check_environment(_named_variables({**from_file, **(overrides or {})}))
    try:
        return Settings(_file=from_file, **(overrides or {}))
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None
    except Exception as error:
        if type(error).__name__ != "SettingsError":  # pydantic-settings: a variable that has to be JSON is not
            raise
        raise ConfigError(
            f"an EVALSIDE_ variable is not readable: {error}; lists and maps are written as JSON"
        ) from None


def secret(name: str | None, key: str) -> str | None:
    """Return the value of the environment variable `name`, None where no name is configured.

    Raises:
        ConfigError: the variable is not set, or empty.
    """
    if name is None:
        return None
    value = os.environ.get(name, "")
    if not value:
        raise ConfigError(f"{key}: the environment variable '{name}' is not set; export {name}=…, or remove {key}")
    return value


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"config file '{path}' cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"config file '{path}' is not YAML: {error}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"config file '{path}' must hold a mapping, for example 'upstream: {{url: …}}'")
    return document


def _named_variables(document: Any) -> set[str]:
    """Return the variables that `*_name` keys name, in a document and in the environment."""
    named = {value for name, value in os.environ.items() if name.startswith(PREFIX) and name.endswith("_NAME")}
    if isinstance(document, dict):
        for name, value in document.items():
            if isinstance(value, str) and str(name).endswith("_name"):
                named.add(value)
            named |= _named_variables(value)
    return named


def _check_environment(named: set[str]) -> None:
    valid = {*_variables(Settings, PREFIX), CONFIG_VARIABLE}
    for name, value in os.environ.items():
        if not name.startswith(PREFIX) or name in named or name in valid:
            continue
        injected = _INJECTED.fullmatch(name) or (name == "EVALSIDE_PORT" and _INJECTED_PORT.match(value))
        if not injected:
            raise ConfigError(f"unknown variable '{name}'{did_you_mean(name, valid)}")


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


def _explain_one(item: Mapping[str, Any]) -> str:
    location = [part for part in item["loc"]]
    key = ".".join(str(part) for part in location)
    if item["type"] == "extra_forbidden":
        return f"unknown key '{key}'{did_you_mean(str(location[-1]), _names_at(location[:-1]))}"
    if item["type"] == "missing":
        variable = PREFIX + "__".join(str(part).upper() for part in location)
        if location == ["upstream"]:
            key, variable = "upstream.url", "EVALSIDE_UPSTREAM__URL"
        return f"'{key}' is missing; set it in the YAML file, as {variable}, or with a flag of 'evalside serve'"
    return f"'{key}' is {item['input']!r}: {item['msg']}"


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
