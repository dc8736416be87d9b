"""Templates that turn a row into text: Jinja in its sandbox, where a name that the row has not is an error."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2 import Template as Compiled
from jinja2.sandbox import ImmutableSandboxedEnvironment

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Template:
    """A checked template. Raises ValueError that names the line if it is none.

    Beside Jinja's own filters there is `letters`: a list as lines "A. …", "B. …".
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._compiled  # noqa: B018 - compiles it
        except TemplateSyntaxError as error:
            raise ValueError(f"the template {text!r} is wrong in line {error.lineno}: {error.message}") from None

    @cached_property
    def _compiled(self) -> Compiled:
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
        environment.filters["letters"] = lettered
        return environment.from_string(self.text)

    def render(self, values: Mapping[str, Any]) -> str:
        """The text for one row. Raises ValueError that says what is missing and what there is."""
        try:
            return self._compiled.render(values)
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            there = ", ".join(sorted(map(str, values)))
            raise ValueError(f"the template {self.text!r} fails: {error}; the row has: {there}") from None


def lettered(options: Any) -> str:
    """A list of options as lines, each with its letter."""
    if not isinstance(options, list) or len(options) > len(_LETTERS):
        raise ValueError(f"'letters' takes a list of at most {len(_LETTERS)} options, not {options!r}")
    return "\n".join(f"{letter}. {option}" for letter, option in zip(_LETTERS, options, strict=False))
