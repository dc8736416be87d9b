"""The reference of the command line lists every command with its arguments, options and defaults."""

import re
from typing import Any

import pytest
import typer.main
from typer.core import TyperArgument, TyperGroup

from harness.tasks import TASKS
from proxy import cli
from tests.docs.markdown import DOCS, codes, section, tables


def commands() -> dict[str, Any]:
    """Every command by its words; "" has the options of all."""
    if not cli.app.registered_commands or all(found.name != "run" for found in cli.app.registered_commands):
        cli._add_commands()
    group = typer.main.get_command(cli.app)
    assert isinstance(group, TyperGroup)
    found: dict[str, Any] = {"": group}
    for name, command in group.commands.items():
        below = command.commands if isinstance(command, TyperGroup) else {"": command}
        found |= {f"{name} {sub}".strip(): item for sub, item in below.items()}
    return found


def options(command: Any) -> dict[str, str]:
    """Every option of a command in the reference's words, with its default."""
    found = {}
    for option in command.params:
        if isinstance(option, TyperArgument):
            continue
        names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len, reverse=True))
        default = "none" if option.default is None else f"`{option.default}`".replace("False", "false")
        found[names] = "required" if option.required else default
    return found


class TestCommandLine:
    page = DOCS / "reference" / "cli.md"

    def test_every_command_and_no_other_has_a_section(self):
        assert set(re.findall(r"^## (.+)$", self.page.read_text(), re.MULTILINE)) == set(commands()) - {""}

    @pytest.mark.parametrize("name", [name for name in commands() if name])
    def test_every_argument_is_in_the_usage_line(self, name):
        arguments = [option for option in commands()[name].params if isinstance(option, TyperArgument)]
        metavars = [option.metavar or option.name.upper() for option in arguments]

        usage = next(iter(codes(section(self.page, f"## {name}"))), "")
        assert not metavars or usage == " ".join(["evalside", name, *metavars])

    @pytest.mark.parametrize("name", list(commands()))
    def test_every_option_has_its_default(self, name):
        text = section(self.page, f"## {name}") if name else self.page.read_text().partition("\n## ")[0]
        found = {row["option"]: row["default"] for row in next(tables(text))}

        assert found == options(commands()[name])

    def test_every_task_is_named(self):
        assert set(TASKS) <= set(codes(section(self.page, "## run")))
