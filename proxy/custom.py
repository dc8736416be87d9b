"""Interceptors that the configuration names by where they are: `module:attribute`."""

from __future__ import annotations

import hashlib
import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from proxy.core.nearest import did_you_mean
from proxy.interceptors.base import Plugin
from proxy.settings import ConfigError

_NAME = re.compile(r"(?P<module>\w+(\.\w+)*):(?P<attribute>\w+(\.\w+)*)")


def is_custom(name: str) -> bool:
    """Return whether an interceptor's name says where it is."""
    return ":" in name


def load(name: str) -> Plugin[Any]:
    """Return the interceptor at `module:attribute`, a module of the working directory, of PYTHONPATH or installed.

    Raises:
        ConfigError: it is not there, cannot be imported, or is not a `Plugin`.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise ConfigError(f"interceptor '{name}' is no module:attribute, for example my_package.seed:PLUGIN")
    module = _imported(name, found["module"])
    value: Any = module
    for attribute in found["attribute"].split("."):
        if not hasattr(value, attribute):
            raise ConfigError(
                f"interceptor '{name}': {_where(module)} has no '{attribute}'{_nearest(attribute, value)}"
            )
        value = getattr(value, attribute)
    if not isinstance(value, Plugin):
        raise ConfigError(
            f"interceptor '{name}' is {_kind(value)}, not a Plugin; write"
            f" 'PLUGIN = Plugin(Config, Layer.TRANSFORM, simple(Interceptor))'{_plugins(module)}"
        )
    return value


def digest(module: str) -> str:
    """Return a hash of a module's source, so that an edit of it is another pipeline; empty where there is none."""
    path = getattr(sys.modules.get(module), "__file__", None)
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path is not None else ""
    except OSError:
        return ""


def _imported(name: str, module: str) -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)  # last: a file there takes no installed module's place
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise _broken(name, module, error) from error
        raise ConfigError(
            f"interceptor '{name}': there is no module '{error.name}'; it is looked for among what is installed, on"
            f" PYTHONPATH and in the working directory, {folder}"
        ) from None
    except Exception as error:
        raise _broken(name, module, error) from error


def _broken(name: str, module: str, error: Exception) -> ConfigError:
    return ConfigError(f"interceptor '{name}': module '{module}' cannot be imported: {error!r}; repair it")


def _where(module: ModuleType) -> str:
    path = getattr(module, "__file__", None)
    return f"module '{module.__name__}'" + (f" ({path})" if path is not None else "")


def _nearest(attribute: str, value: Any) -> str:
    plugins = (
        [name for name, item in vars(value).items() if isinstance(item, Plugin)] if hasattr(value, "__dict__") else []
    )
    return did_you_mean(attribute, plugins) if plugins else "; a Plugin belongs there"


def _plugins(module: ModuleType) -> str:
    names = [name for name, item in vars(module).items() if isinstance(item, Plugin)]
    return f", or name one of the module's: {', '.join(names)}" if names else ""


def _kind(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"
