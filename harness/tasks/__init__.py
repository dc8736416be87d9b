"""The native tasks, by name."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import ConfigurationError
from harness.strict import nearest
from harness.tasks.base import NOTHING, Task
from harness.tasks.gsm8k import Gsm8k
from harness.tasks.jsonl import load_task
from harness.tasks.mmlu_pro import SUBJECTS, MmluPro
from harness.tasks.smoke import SmokeTask

TASKS: dict[str, type[Task]] = {"smoke": SmokeTask, "gsm8k": Gsm8k, "mmlu_pro": MmluPro}
_LOCAL = Path("tasks")
_ENDINGS = (".yaml", ".yml")
_MAKERS: dict[str, Callable[[Mapping[str, Any]], Task]] = {
    **TASKS,
    **{f"mmlu_pro_{subject.replace(' ', '_')}": partial(MmluPro, subject=subject) for subject in SUBJECTS},
}
NAMES = tuple(_MAKERS)


def find_task(name: str, extra: Mapping[str, Any] = NOTHING) -> Task:
    """The task of that name, with `extra` as its options.

    A name is that of a native task, or of a YAML file in the folder `tasks` of the working directory, without its
    ending; a path to such a file is taken as it is. Raises ConfigurationError with the nearest name and all valid ones.
    """
    if name.endswith(_ENDINGS) or os.sep in name:
        return load_task(Path(name), extra)
    if name in _MAKERS:
        return _MAKERS[name](extra)
    for ending in _ENDINGS:
        path = _LOCAL / f"{name}{ending}"
        if path.is_file():
            return load_task(path, extra)
    raise ConfigurationError(f"unknown task {name!r}{nearest(name, [*NAMES, *local_tasks()])}")


def local_tasks() -> dict[str, Path]:
    """The YAML files in the folder `tasks` of the working directory, by the names they go by."""
    return {path.stem: path for ending in _ENDINGS for path in sorted(_LOCAL.glob(f"*{ending}"))}
