import itertools

from proxy.testing.structured import instance


def make(schema):
    return instance(schema, itertools.cycle(["red", "blue"]))


def test_objects_arrays_and_scalars():
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "minimum": 18},
            "ratio": {"type": "number", "maximum": 0.5},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "ok": {"type": "boolean"},
            "nothing": {"type": "null"},
            "maybe": {"type": ["null", "string"]},
        },
    }
    assert make(schema) == {
        "name": "red",
        "age": 18,
        "ratio": 0.5,
        "tags": ["blue", "red"],
        "ok": True,
        "nothing": None,
        "maybe": "blue",
    }
    assert isinstance(make(schema)["age"], int)


def test_enum_const_unions_and_formats():
    assert make({"enum": ["x", "y"]}) == "x"
    assert make({"const": None}) is None
    assert make({"anyOf": [{"type": "boolean"}, {"type": "string"}]}) is True
    assert make({"type": "string", "format": "date"}) == "2024-01-01"


def test_string_lengths_are_kept():
    assert make({"type": "string", "minLength": 7}) == "red blue"
    assert make({"type": "string", "maxLength": 2}) == "re"


def test_references_are_followed_and_recursion_ends():
    node = {
        "type": "object",
        "properties": {"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
        "required": ["value"],
    }
    tree = make({"$ref": "#/$defs/node", "$defs": {"node": node}})
    assert tree["children"][0]["value"] == 1


def test_all_of_joins_properties():
    schema = {"allOf": [{"properties": {"a": {"type": "integer"}}}], "properties": {"b": {"type": "string"}}}
    assert make(schema) == {"b": "red", "a": 1}


def test_a_schema_without_type_is_a_word():
    assert make({}) == make(None) == "red"
