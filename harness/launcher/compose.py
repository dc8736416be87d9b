"""Composes the configuration of a run: a file, the groups it names, and what the command line says on top."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from harness.errors import ConfigurationError
from harness.strict import nearest

GROUPS = Path(__file__).with_name("conf")
"""The shipped config groups: `execution` and `deployment`."""
_DEFAULTS = {"execution": "local", "deployment": "none"}
_TASKS = "evaluation.tasks."
HOW_TO_INSTALL = "install it with `pip install 'evalside[launcher]'`"


@dataclass(frozen=True)
class Source:
    """Where the configuration is: `file`, or `name` in the folder `directory`; nowhere, if none of them is given."""

    directory: Path | None = None
    name: str | None = None
    file: Path | None = None

    def path(self) -> Path | None:
        """The file. Raises ConfigurationError if there is none, or if two are meant."""
        if self.file is not None:
            if self.directory is not None or self.name is not None:
                raise ConfigurationError("--config names the file; leave --config-dir and --config-name out")
            return _existing(self.file)
        if self.name is None and self.directory is None:
            return None
        if self.name is None:
            raise ConfigurationError(f"--config-dir {self.directory} needs --config-name, the file in it")
        name = self.name if self.name.endswith((".yaml", ".yml")) else f"{self.name}.yaml"
        return _existing((self.directory or Path()) / name)


def compose(source: Source, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The whole configuration, resolved. Raises ConfigurationError for what is missing or wrong.

    An override is `key=value` with a value in YAML; the key may be new. `group=choice` chooses of a config group,
    `evaluation.tasks.NAME.key=value` reaches into a task, `~key` takes a key away.
    """
    path = source.path()
    if path is None and not overrides:
        return {group: _shipped(group, choice) for group, choice in _DEFAULTS.items()}
    try:
        from omegaconf import OmegaConf  # noqa: PLC0415 - an extra
        from omegaconf.errors import OmegaConfBaseException  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(f"a configuration file or -o needs hydra-core; {HOW_TO_INSTALL}") from None
    choices, changes = _sorted_out(overrides, path)
    try:
        config = _from_file(path, choices) if path is not None else OmegaConf.create()
        for group, default in _DEFAULTS.items():
            if config.get(group) is None or "type" not in config[group]:
                choice = choices.get(group, default)
                config[group] = OmegaConf.merge(_shipped(group, choice), config.get(group) or {})
        for change in changes:
            _apply(config, change)
        _refuse_missing(config)
        found = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigurationError(f"the configuration cannot be composed: {str(error).splitlines()[0]}") from None
    assert isinstance(found, dict)
    return {str(name): value for name, value in found.items()}


def _existing(path: Path) -> Path:
    if path.is_file():
        return path.absolute()
    if not path.parent.is_dir():
        raise ConfigurationError(f"there is no folder {path.parent}, where the configuration {path.name} should be")
    names = [found.stem for found in path.parent.glob("*.y*ml")]
    raise ConfigurationError(f"there is no configuration {path}{nearest(path.stem, names)}")


def _shipped(group: str, choice: str) -> dict[str, Any]:
    path = GROUPS / group / f"{choice}.yaml"
    if not path.is_file():
        choices = [found.stem for found in (GROUPS / group).glob("*.yaml")]
        raise ConfigurationError(f"unknown {group} {choice!r}{nearest(choice, choices)}")
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def _from_file(path: Path, choices: dict[str, str]) -> Any:
    from hydra import compose as hydra_compose  # noqa: PLC0415 - an extra
    from hydra import initialize_config_dir  # noqa: PLC0415
    from hydra.errors import HydraException  # noqa: PLC0415
    from omegaconf import OmegaConf  # noqa: PLC0415

    named = _defaults_of(path)
    chosen = [f"{group}={choice}" if group in named else f"+{group}={choice}" for group, choice in choices.items()]
    try:
        with ExitStack() as stack:
            folder, search = path.parent, [GROUPS]
            if path.suffix != ".yaml":  # hydra reads no other
                folder, search = Path(stack.enter_context(TemporaryDirectory())), [GROUPS, path.parent]
                (folder / f"{path.stem}.yaml").write_text(yaml.safe_dump(_read(path)), encoding="utf-8")
            stack.enter_context(initialize_config_dir(config_dir=str(folder), version_base="1.3"))
            places = ",".join(f"file://{place}" for place in search)
            config = hydra_compose(path.stem, overrides=[f"hydra.searchpath=[{places}]", *chosen])
    except HydraException as error:
        text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise ConfigurationError(f"{path.name} cannot be composed: {text}") from None
    OmegaConf.set_struct(config, value=False)
    return config


def _defaults_of(path: Path) -> set[str]:
    """The config groups in a file's list of defaults."""
    listed = _read(path).get("defaults") or []
    names = [name for entry in listed if isinstance(entry, dict) for name in entry]
    return {str(name).removeprefix("override ").removeprefix("optional ") for name in names}


def _read(path: Path) -> dict[Any, Any]:
    """The file's mapping; of a run's `manifest.json`, the configuration in it. Raises ConfigurationError."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} must hold a mapping, for example `target: {{api_endpoint: {{url: …}}}}`")
    within = document.get("run_config")
    return within if isinstance(within, dict) else document


def _sorted_out(overrides: Sequence[str], path: Path | None) -> tuple[dict[str, str], list[str]]:
    """Choices of config groups, and the other overrides."""
    folders = [GROUPS, *([path.parent] if path is not None else [])]
    choices: dict[str, str] = {}
    changes = []
    for override in overrides:
        key, equals, value = override.lstrip("+").partition("=")
        if not equals and not override.startswith("~"):
            raise ConfigurationError(f"override {override!r} has no '='; write it like target.api_endpoint.model_id=m")
        if key.partition(".")[0] == "config":
            raise ConfigurationError(
                f"override {override!r} is of tasks; write it evaluation.overrides.{key} for all of them, or "
                f"{_TASKS}TASK.overrides.{key} for one"
            )
        if "." not in key and any((folder / key / f"{value}.yaml").is_file() for folder in folders):
            choices[key] = value
        elif key in _DEFAULTS:
            _shipped(key, value)
        else:
            changes.append(override)
    return choices, changes


def _apply(config: Any, override: str) -> None:
    from omegaconf import OmegaConf  # noqa: PLC0415 - an extra

    if override.startswith("~"):
        where, _, last = override[1:].partition("=")[0].rpartition(".")
        holder = OmegaConf.select(config, where) if where else config
        if holder is None or last not in list(holder):  # `in` says no of a key whose value is ???
            raise ConfigurationError(f"override {override!r} takes away a key that is not there")
        del holder[last]
        return
    key, _, text = override.lstrip("+").partition("=")
    value = OmegaConf.from_dotlist([f"value={text}"])["value"]
    if key.startswith(_TASKS):
        name, _, rest = key.removeprefix(_TASKS).partition(".")
        OmegaConf.update(_task(config, name, override), rest, value, force_add=True)
    else:
        OmegaConf.update(config, key, value, force_add=True)


def _task(config: Any, name: str, override: str) -> Any:
    tasks = (config.get("evaluation") or {}).get("tasks") or []
    names = [task.get("name") if hasattr(task, "get") else task for task in tasks]
    place = int(name) if name.isdigit() else next((n for n, each in enumerate(names) if each == name), len(tasks))
    if place >= len(tasks):
        raise ConfigurationError(f"override {override!r}: no task {name!r}{nearest(name, filter(None, names))}")
    if isinstance(tasks[place], str):
        tasks[place] = {"name": tasks[place]}
    return tasks[place]


def _refuse_missing(config: Any) -> None:
    from omegaconf import OmegaConf  # noqa: PLC0415 - an extra

    # Looked for without resolving: what refers to a missing value (`${.model}`) would fail first, and less clearly.
    missing = sorted(_without_value(OmegaConf.to_container(config, resolve=False)))
    if missing:
        raise ConfigurationError(
            f"{', '.join(missing)}: required, and has no value (???); give it with `-o {missing[0]}=…` or in the file"
        )


def _without_value(value: Any, place: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _without_value(item, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _without_value(item, f"{place}[{number}]")
    elif value == "???":
        yield place
