"""What the shell offers for arguments: tasks, and ids of runs."""

from harness.runs.database import FOLDER, Runs
from harness.tasks.catalog import NATIVE, catalog


def complete_task(incomplete: str) -> list[str]:
    """Tasks that begin so."""
    names = [entry.name if entry.harness == NATIVE else entry.qualified for entry in catalog()]
    return [name for name in names if name.startswith(incomplete)]


def complete_run(incomplete: str) -> list[tuple[str, str]]:
    """Runs of this folder that begin so, and what they are."""
    if not FOLDER.is_dir():
        return []
    with Runs() as runs:
        return [(run.id, f"{run.state}, {run.folder}") for run in runs.all() if run.id.startswith(incomplete)]
