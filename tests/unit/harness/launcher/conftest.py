import pytest
import typer
from typer.testing import CliRunner

from harness.launcher import runs, telling
from harness.launcher.cli import run
from harness.launcher.ls import ls_app

app = typer.Typer()
app.add_typer(ls_app, name="ls")
app.command("run")(run)
for name in ("status", "info", "logs", "kill", "resume", "rerun"):
    app.command(name)(getattr(runs, name))
for name in ("report", "compare", "export"):
    app.command(name)(getattr(telling, name))


@pytest.fixture
def evalside(monkeypatch):
    """Runs a command in this process; the exit code and what it printed."""
    monkeypatch.setenv("COLUMNS", "160")

    def invoke(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return invoke


@pytest.fixture
def ran(evalside, server, said, standin):
    """A finished run of four samples: its id."""

    def make(*words):
        server.on("/v1/chat/completions", said("5"))
        code, output = evalside("run", "-t", "smoke", "--url", server.url, "--limit-samples", "4", *words)
        assert code == 0, output
        return output.split()[1].rstrip(",")

    return make
