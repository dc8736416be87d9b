"""The native tasks, by name."""

from harness.errors import ConfigurationError
from harness.strict import nearest
from harness.tasks.base import Task
from harness.tasks.smoke import SmokeTask

TASKS: dict[str, type[Task]] = {"smoke": SmokeTask}


def find_task(name: str) -> Task:
    """The task of that name. Raises ConfigurationError with the nearest name and all valid ones."""
    if name not in TASKS:
        raise ConfigurationError(f"unknown task {name!r}{nearest(name, TASKS)}")
    return TASKS[name]()
