"""Every task there is, native or another harness's: what it is called, who runs it, what it needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from harness.api import EndpointType
from harness.errors import ConfigurationError
from harness.strict import nearest
from harness.tasks import NAMES, find_task, local_tasks
from harness.tasks.base import Task
from harness.tasks.needs import Lack, lacks

NATIVE = "native"
_FILE = Path(__file__).with_name("catalog.yaml")
_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True)
class Entry:
    """One task. `task` is what its harness calls it; `package` what that is installed from, empty for native ones."""

    name: str
    harness: str
    task: str
    endpoint_types: tuple[EndpointType, ...]
    needs: tuple[str, ...]
    dataset: str
    license: str
    description: str = ""
    package: str = ""

    @property
    def qualified(self) -> str:
        """The name that is nobody else's: `lm-eval.mmlu_pro`."""
        return f"{self.harness}.{self.name}"

    def row(self) -> dict[str, Any]:
        """As JSON."""
        lists = {"endpoint_types": [kind.value for kind in self.endpoint_types], "needs": list(self.needs)}
        return {"name": self.name, "harness": self.harness, "task": self.task, **lists, "dataset": self.dataset,
                "license": self.license, "description": self.description}  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """The task that a name stands for. `listed` is false for one that only its harness knows; `said` tells people."""

    entry: Entry
    said: str
    listed: bool = True


def catalog() -> list[Entry]:
    """All tasks: native ones, files in the folder `tasks`, then those of other harnesses, each by name."""
    native = [_native(name) for name in sorted(NAMES)]
    files = [_local(name, path) for name, path in sorted(local_tasks().items()) if name not in NAMES]
    return [*native, *files, *sorted(_foreign(), key=lambda entry: entry.qualified)]


def harnesses() -> list[str]:
    """The names that may stand before a dot."""
    return [NATIVE, *_document()]


def resolve(name: str) -> Choice:
    """The task that `name` stands for: a path, a qualified name, or a bare one, of which native ones win.

    Raises ConfigurationError for a name that several harnesses have, with the choices, and for an unknown one, with the
    nearest.
    """
    harness, dot, bare = name.partition(".")
    if dot and harness in _document():
        return _qualified(harness, bare)
    if name.endswith(_ENDINGS) or "/" in name:
        entry = _entry(find_task(name), name)
        return Choice(entry, f"{name}: the benchmark {entry.name!r} in that file")
    if dot and harness == NATIVE:
        return _qualified(harness, bare)
    found = [entry for entry in catalog() if entry.name == name]
    native = [entry for entry in found if entry.harness == NATIVE]
    if native:
        others = [entry.qualified for entry in found if entry.harness != NATIVE]
        also = f"; {' and '.join(others)} {'is' if len(others) == 1 else 'are'} another harness's" if others else ""
        return Choice(native[0], f"{name}: the native task{also}")
    if len(found) > 1:
        choices = ", ".join(entry.qualified for entry in found)
        raise ConfigurationError(f"task {name!r} is there {len(found)} times; say which: {choices}")
    if not found:
        known = {entry.name for entry in catalog()} | {entry.qualified for entry in _foreign()}
        raise ConfigurationError(f"unknown task {name!r}{_nearest(name, known)}")
    return Choice(found[0], f"{name}: {found[0].qualified}, as no native task is called so")


def missing(entry: Entry, profile: Mapping[str, Any], kind: EndpointType | None = None) -> list[Lack]:
    """What a task needs and the endpoint of a profile (as `evalside probe` writes it) lacks, each with the reason.

    Empty where nothing is known to speak against it. `kind` is the endpoint's type, None any that the task takes.

    Raises ConfigurationError if the document is no profile.
    """
    return lacks(entry.qualified, entry.needs, [kind] if kind is not None else entry.endpoint_types, profile)


def _qualified(harness: str, bare: str) -> Choice:
    if harness == NATIVE:
        if bare not in {*NAMES, *local_tasks()}:
            raise ConfigurationError(f"unknown native task {bare!r}{nearest(bare, [*NAMES, *local_tasks()])}")
        return Choice(_native(bare), f"{NATIVE}.{bare}: the native task")
    for entry in _foreign():
        if (entry.harness, entry.name) == (harness, bare):
            return Choice(entry, f"{entry.qualified}: {entry.task} of {harness}")
    both = (EndpointType.CHAT, EndpointType.COMPLETIONS)
    unlisted = Entry(bare, harness, bare, both, (), "unknown", "unknown", package=_document()[harness]["package"])
    said = f"{harness}.{bare}: not in the catalogue, {harness} is asked for it as it is"
    return Choice(unlisted, said, listed=False)


def _nearest(name: str, known: Iterable[str]) -> str:
    """As `nearest`, but for the whole list: it is long, and there is a command for it."""
    return nearest(name, known).partition(" Valid:")[0] + " all of them: evalside ls tasks"


def _native(name: str) -> Entry:
    return _entry(find_task(name), name)


def _entry(task: Task, called: str) -> Entry:
    return Entry(
        name=task.name,
        harness=NATIVE,
        task=called,
        endpoint_types=tuple(sorted(task.endpoint_types)),
        needs=task.needs,
        dataset=task.dataset,
        license=task.license,
        description=task.description,
    )


def _local(name: str, path: Path) -> Entry:
    """A file of the folder `tasks`; one that is wrong is listed too, with what is wrong."""
    try:
        return Entry(**{**vars(_native(name)), "name": name, "task": str(path)})
    except ConfigurationError as error:
        return Entry(name, NATIVE, str(path), (), (), "unknown", "unknown", description=f"cannot be run: {error}")


def _foreign() -> list[Entry]:
    return [
        Entry(
            name=row["name"],
            harness=harness,
            task=row.get("task", row["name"]),
            endpoint_types=tuple(EndpointType(kind) for kind in row["endpoints"]),
            needs=tuple(row.get("needs", ())),
            dataset=row["dataset"],
            license=row["license"],
            package=section["package"],
        )
        for harness, section in _document().items()
        for row in section["tasks"]
    ]


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return document
