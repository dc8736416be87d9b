"""Small valid instances of JSON schemas, for structured output and tool arguments."""

from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 6

STRINGS_BY_FORMAT = {
    "date": "2024-01-01",
    "date-time": "2024-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "a@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}


def instance(schema: Any, words: Iterator[str]) -> Any:
    """A value that fits the schema; strings without other rules take the next of `words`, an endless iterator.

    Understands type, properties, required, items, prefixItems, enum, const, anyOf, oneOf, allOf, $ref within the
    document, minItems, minimum, exclusiveMinimum, maximum, minLength, maxLength and common formats; not pattern.
    """
    return _value(schema, schema, words, 0)


def _value(schema: Any, root: Any, words: Iterator[str], depth: int) -> Any:
    if not isinstance(schema, dict):
        return next(words)
    schema = _resolved(schema, root)
    if "const" in schema or schema.get("enum"):
        return schema["const"] if "const" in schema else schema["enum"][0]
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            return _value(_shallowest(schema[union], depth), root, words, depth + 1)
    match _type(schema):
        case "object":
            return _object(schema, root, words, depth)
        case "array":
            return _array(schema, root, words, depth)
        case "integer" | "number" as kind:
            return int(_number(schema)) if kind == "integer" else _number(schema)
        case "string":
            return _string(schema, words)
        case other:
            return {"boolean": True}.get(other)


def _resolved(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    for _ in range(MAX_DEPTH):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            break
        target = root
        for step in reference[1:].split("/"):
            if step:
                target = target.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(target, dict) else {}
        schema = target if isinstance(target, dict) else {}
    for part in schema.get("allOf", ()):
        merged = _resolved(part, root)
        properties = {**schema.get("properties", {}), **merged.get("properties", {})}
        required = [*schema.get("required", ()), *merged.get("required", ())]
        schema = {**merged, **schema, "allOf": (), "properties": properties, "required": required}
    return schema


def _type(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((item for item in kind if item != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _shallowest(options: list[Any], depth: int) -> Any:
    if depth < MAX_DEPTH:
        return options[0]
    return next((option for option in options if isinstance(option, dict) and "$ref" not in option), options[0])


def _object(schema: dict[str, Any], root: Any, words: Iterator[str], depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    required = schema.get("required") or ()
    names = properties if depth < MAX_DEPTH else [name for name in properties if name in required and depth < 50]
    return {name: _value(properties[name], root, words, depth + 1) for name in names}


def _array(schema: dict[str, Any], root: Any, words: Iterator[str], depth: int) -> list[Any]:
    first = [_value(item, root, words, depth + 1) for item in schema.get("prefixItems", ())]
    wanted = max(schema.get("minItems", 0), 1 if depth < MAX_DEPTH else 0) - len(first)
    return first + [_value(schema.get("items"), root, words, depth + 1) for _ in range(max(wanted, 0))]


def _number(schema: dict[str, Any]) -> float:
    if "minimum" in schema:
        return float(schema["minimum"])
    if "exclusiveMinimum" in schema:
        return float(schema["exclusiveMinimum"] + 1)
    return float(min(1, schema.get("maximum", 1)))


def _string(schema: dict[str, Any], words: Iterator[str]) -> str:
    if schema.get("format") in STRINGS_BY_FORMAT:
        return STRINGS_BY_FORMAT[schema["format"]]
    text = next(words)
    while len(text) < schema.get("minLength", 0):
        text += f" {next(words)}"
    return text[: schema["maxLength"]] if "maxLength" in schema else text
