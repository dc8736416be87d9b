"""What the reference says of a dialect, made of its data file."""

from collections.abc import Iterator
from typing import NamedTuple

from proxy.dialects.model import AnswerDialect, Dialect, Range, RouteDialect
from proxy.wire.routes import GENERATION


class Row(NamedTuple):
    """A row of a dialect's table."""

    of: str
    rule: str
    says: str


def rows(dialect: Dialect) -> Iterator[Row]:
    """Every rule of the file, in the order of the format."""
    for route in sorted(GENERATION):
        said = dialect.route(route)
        for name in RouteDialect.model_fields:
            value = getattr(said, name)
            if value != RouteDialect.model_fields[name].get_default(call_default_factory=True):
                yield Row(f"`{route}`", f"`{name}`", _says(value))
    for name, field in AnswerDialect.model_fields.items():
        value = getattr(dialect.answers, name)
        if value != field.default:
            yield Row("answers", f"`{name}`", f"`{value}`")


def table(dialect: Dialect) -> str:
    """The table, in Markdown."""
    lines = [f"| {row.of} | {row.rule} | {row.says} |" for row in rows(dialect)]
    return "\n".join(["| of | rule | says |", "|---|---|---|", *lines])


def _says(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"`{name}`{_of(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value)
    return "yes"


def _of(value: object) -> str:
    if isinstance(value, Range):
        return f" {value.min} to {value.max}"
    if isinstance(value, list):
        return f" {', '.join(map(str, value))}"
    return f" → `{value}`"
