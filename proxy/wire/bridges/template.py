"""Chat templates as Hugging Face writes them, in a sandbox.

Same names as in transformers' `apply_chat_template`: `messages`, `tools`, `add_generation_prompt`, `bos_token`,
`eos_token`, `raise_exception`, `strftime_now`, and a `tojson` that keeps text as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, Undefined
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment


class TemplateFailed(Exception):
    """A template cannot be read, or not be filled with this request; the message is the user's."""


class Template:
    """A template that was read.

    Raises:
        TemplateFailed: it is not one.
    """

    def __init__(self, source: str, *, undefined: type[Undefined] = Undefined) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation], undefined=undefined
        )
        environment.filters["tojson"] = _tojson
        environment.globals |= {"raise_exception": _raise, "strftime_now": _now}
        try:
            self._template = environment.from_string(source)
        except TemplateSyntaxError as error:
            raise TemplateFailed(f"line {error.lineno}: {error.message}") from None

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the text.

        Raises:
            TemplateFailed: the template refuses these values, or cannot work with them.
        """
        try:
            return self._template.render(values)
        except Exception as error:  # noqa: BLE001 - a template may raise anything that its expressions do
            raise TemplateFailed(str(error)) from None


def strict_template(source: str) -> Template:
    """Return a template in which a name that is not defined is an error."""
    return Template(source, undefined=StrictUndefined)


class _Generation(Extension):
    """The tag around what the assistant says, which marks it for training and means nothing here."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)
