import httpx
import pytest

from harness.client.answers import Fields, SidecarFacts

DOCUMENT = {"choices": [{"message": {"content": "hi", "tool_calls": None}}], "usage": {"total_tokens": 3}}


def test_fields_are_read_as_attributes_and_as_keys():
    answer = Fields(DOCUMENT)
    assert answer.choices[0].message.content == "hi"
    assert answer["choices"][0]["message"]["content"] == "hi"
    assert answer.choices[0].message.tool_calls is None
    assert answer.usage.get("cached") is None
    assert "usage" in answer
    assert list(answer) == ["choices", "usage"]
    assert answer.model_dump() == DOCUMENT
    assert answer == Fields(DOCUMENT)
    assert "total_tokens" in repr(answer)


def test_a_missing_field_is_named_with_those_there_are():
    with pytest.raises(AttributeError, match="no field 'usages'; it has: choices, usage"):
        _ = Fields(DOCUMENT).usages


def test_facts_are_read_from_the_headers():
    facts = SidecarFacts.of(httpx.Headers({"x-evalside-cache": "hit", "x-evalside-sample": "3", "x-evalside-id": "e"}))
    assert (facts.cache, facts.sample, facts.id, facts.run) == ("hit", 3, "e", None)
