import io

import pytest
import typer
from rich.console import Console

from harness.errors import ConfigurationError, RunError
from harness.launcher.failing import FAILED, INTERRUPTED, USAGE, failing, say


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigurationError("no such task"), USAGE, "error: no such task\n"),
        (RunError("it runs already"), FAILED, "error: it runs already\n"),
        (KeyboardInterrupt(), INTERRUPTED, ""),
    ],
)
def test_an_error_ends_the_command_with_its_code(error, code, said, capsys):
    with pytest.raises(typer.Exit) as ended, failing():
        raise error
    assert ended.value.exit_code == code
    assert capsys.readouterr() == ("", said)


def test_a_mistake_in_the_code_is_told_as_it_is():
    with pytest.raises(ZeroDivisionError), failing():
        raise ZeroDivisionError


def test_a_text_is_printed_as_it_is():
    written = io.StringIO()
    say(Console(file=written, width=10, force_terminal=True), "[red]a long line[/red] of 1 thing")
    assert written.getvalue() == "[red]a long line[/red] of 1 thing\n"
