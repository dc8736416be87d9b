"""Reads what the documentation says: its tables and its fenced examples."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_CELLS = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"`([^`]+)`")


class Fence(NamedTuple):
    """One fenced example; `mark` is what follows the language, on the same line."""

    path: Path
    line: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def section(path: Path, heading: str) -> str:
    """The text below a heading, up to the next one of the same or a higher level. Raises AssertionError without it."""
    lines = path.read_text().splitlines()
    level = len(heading) - len(heading.lstrip("#"))
    assert heading in lines, f"{path.name} has no heading {heading!r}"
    found = []
    fenced = False
    for line in lines[lines.index(heading) + 1 :]:
        fenced ^= line.startswith("```")
        if not fenced and re.match(rf"#{{1,{level}}} ", line):
            break
        found.append(line)
    return "\n".join(found)


def tables(text: str) -> Iterator[list[dict[str, str]]]:
    """Every table as a list of rows, each a dictionary from column heading to cell."""
    block: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            block.append([cell.strip().replace("\\|", "|") for cell in _CELLS.split(line)[1:-1]])
        elif block:
            yield [dict(zip(block[0], row, strict=True)) for row in block[2:]]
            block = []


def table(path: Path, heading: str) -> list[dict[str, str]]:
    """The first table below a heading."""
    return next(tables(section(path, heading)))


def code(cell: str) -> str:
    """What a cell that is one piece of code says."""
    found = _CODE.fullmatch(cell)
    assert found, f"{cell!r} is not one piece of code"
    return found[1]


def codes(text: str) -> list[str]:
    """Every piece of inline code in a text."""
    return _CODE.findall(text)


def fences(*languages: str) -> list[Fence]:
    """Every fenced example of these languages in the README and docs/."""
    found = []
    for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]:
        lines = path.read_text().splitlines()
        start = None
        for number, line in enumerate(lines):
            if not line.startswith("```"):
                continue
            if start is None:
                start = number
                continue
            language, _, mark = lines[start].removeprefix("```").partition(" ")
            if language in languages:
                found.append(Fence(path, start + 1, language, mark, "\n".join(lines[start + 1 : number]) + "\n"))
            start = None
    return found


def type_name(schema: dict[str, Any]) -> str:
    """A JSON schema in the words of the reference's type columns."""
    if "anyOf" in schema:
        return " or ".join(type_name(option) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{value}`" for value in values)
    kind = str(schema.get("type", "any"))
    if kind == "array":
        items = schema.get("items", {}).get("type")
        return f"list of {items}s" if items in {"string", "integer"} else "list"
    if kind == "object":
        return "map of strings" if schema.get("additionalProperties") == {"type": "string"} else "map"
    bounds = {"exclusiveMinimum": ">", "minimum": "≥", "maximum": "≤"}
    limits = [f"{sign} {schema[name]:g}" for name, sign in bounds.items() if name in schema]
    if {"minimum", "maximum"} <= schema.keys():
        limits = [f"from {schema['minimum']:g} to {schema['maximum']:g}"]
    if schema.get("minLength"):
        limits.append("not empty")
    return " ".join([kind, *limits])
