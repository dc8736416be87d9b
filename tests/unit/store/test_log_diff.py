"""What two rows of the log differ in; runs are compared in tests/unit/commands/test_diff.py."""

from typing import Any

import orjson
import pytest

from proxy.store.codec import pack
from proxy.store.log_diff import FACTS, answers_differ, exchanges_differ

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def body(text: str = "a", **more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", **more}
    return orjson.dumps({"id": text, "created": 1, "choices": [choice]})


def row(request: Any = CHAT, answer: bytes | None = None, **facts: Any) -> dict[str, Any]:
    packed = None if request is None else pack(request if isinstance(request, bytes) else orjson.dumps(request))
    return {
        **dict.fromkeys(FACTS),
        "route": "chat",
        "status": 200,
        "sent_body": None,
        "request_body": packed,
        "response_body": None if answer is None else pack(answer),
        **facts,
    }


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        (row(answer=body()), row(answer=body()), []),
        (row(answer=body("a")), row(answer=body("b")), ["content"]),
        (row(answer=body("a")), row(answer=body("b", finish_reason="length")), ["content", "finish_reason"]),
        (row(answer=b"x", status=500), row(answer=b"y", status=500), ["body"]),
        (row(answer=b"x", status=500), row(answer=b"x", status=502), ["status"]),
        (row(answer=b"x"), row(answer=b"y"), ["body"]),
        (row(answer=b"{}"), row(answer=body()), ["body"]),
        (row(answer=body("a")), row({**CHAT, "stream": True}, body("b")), ["body"]),
        (row(b"no json", body("a")), row(b"no json", body("b")), ["body"]),
        (row(None, body("a")), row(None, body("b")), ["body"]),
        (row(answer=b'{"data":[1]}', route="embeddings"), row(answer=b'{"data":[2]}', route="embeddings"), ["content"]),
        (row(answer=None), row(answer=body()), None),
    ],
)
def test_answers(one: dict[str, Any], other: dict[str, Any], found: list[str] | None) -> None:
    assert answers_differ(one, other) == found


def test_requests_differ_field_by_field_and_the_order_of_fields_is_none() -> None:
    other = {"messages": CHAT["messages"], "model": "m", "stream": True, "seed": 1}
    told = exchanges_differ(row(CHAT), row(other))
    assert told["request"] == [
        {"field": "seed", "asked": None, "stored": "1"},
        {"field": "stream", "asked": None, "stored": "true"},
    ]
    assert exchanges_differ(row([1]), row([2]))["request"] == [{"field": "[0]", "asked": "1", "stored": "2"}]
    assert exchanges_differ(row(b"x"), row(b"y"))["request"][0]["field"] == "body"
    assert exchanges_differ(row(b"x"), row(b"x"))["request"] == []


def test_facts_and_what_is_not_logged() -> None:
    told = exchanges_differ(row(None, status=200, cache="hit"), row(CHAT, status=500, cache="miss"))
    assert told == {
        "facts": [
            {"field": "status", "asked": "200", "stored": "500"},
            {"field": "cache", "asked": "hit", "stored": "miss"},
        ],
        "request": None,
        "answer": ["status"],
    }
