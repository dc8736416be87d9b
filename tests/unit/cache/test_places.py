from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache import places
from proxy.cache.place import NotCacheable, Place, place_of
from proxy.cache.places import Places
from proxy.core.http import Exchange, Headers, Payload, Request
from tests.unit.cache.parts import BODY, RULES, exchange

PATH = b"/v1/chat/completions"

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(
    st.sampled_from(["messages", "prompt", "temperature", "top_p", "model", "stream", "tools", "user", "x"]), VALUES
)


def asked(body: bytes, *, headers: Headers | None = None, query: bytes = b"", path: bytes = PATH) -> Exchange:
    return Exchange(Request("POST", path, query, headers or [], Payload(body)), route="chat")


def told(place: Place) -> dict[str, Any]:
    """Everything that a place says, its keys and the hash of its prompt included."""
    said = {name: getattr(place, name) for name in Place.__slots__ if name not in {"prompt", "keys"}}
    return said | {"prompt": place.prompt(), "key": place.key("server")}


@given(DOCUMENTS, st.booleans())
def test_a_remembered_place_says_what_reading_the_request_again_says(document, spaced):
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2 if spaced else None)
    try:
        expected = place_of(asked(body).request, "chat", RULES)
    except NotCacheable:
        return
    known = Places(RULES)
    known.served(asked(body), known.of(asked(body)))
    again = asked(body)
    assert told(known.of(again)) == told(expected)
    assert again.request.body.known is None  # it was not read


@pytest.mark.parametrize(
    "other",
    [
        {"body": orjson.dumps(BODY | {"seed": 1})},
        {"body": orjson.dumps(BODY) + b" "},
        {"headers": [(b"openai-project", b"p")]},
        {"path": b"/other"},
        {"query": b"a=1"},
    ],
    ids=str,
)
def test_what_differs_is_read(other):
    known, first = Places(RULES), asked(orjson.dumps(BODY))
    known.served(first, known.of(first))
    changed = asked(**{"body": orjson.dumps(BODY), **other})
    assert told(known.of(changed)) == told(place_of(changed.request, "chat", RULES))
    assert changed.request.body.known is not None


def test_headers_that_are_in_no_key_make_no_difference():
    known, first = Places(RULES), asked(orjson.dumps(BODY), headers=[(b"authorization", b"Bearer a")])
    known.served(first, known.of(first))
    again = asked(orjson.dumps(BODY), headers=[(b"authorization", b"Bearer b"), (b"x-request-id", b"1")])
    known.of(again)
    assert again.request.body.known is None


def test_a_query_that_may_hold_a_secret_and_a_changed_body_are_not_remembered():
    known, edited = Places(RULES), exchange()
    edited.request.body.edit()["seed"] = 1
    for made in (asked(orjson.dumps(BODY), query=b"api_key=x"), edited):
        known.served(made, known.of(made))
        made.request.body = Payload(made.request.body.raw)
        assert known.of(made) is not known.of(made)


def test_the_oldest_go_where_it_is_too_much(monkeypatch):
    monkeypatch.setattr(places, "LARGEST", 16_000)
    known = Places(RULES)
    made = [asked(orjson.dumps(BODY | {"seed": number})) for number in range(20)]
    for one in made:
        known.served(one, known.of(one))
    again = [asked(one.received) for one in made]
    for one in again:
        known.of(one)
    read = [one.request.body.known is not None for one in again]
    assert (read[0], read[-1]) == (True, False)
    assert 5 < read.count(False) < 16


def test_a_very_long_one_is_not_remembered(monkeypatch):
    monkeypatch.setattr(places, "LARGEST", 16_000)
    known, long = Places(RULES), asked(orjson.dumps(BODY | {"user": "x" * 4000}))
    known.served(long, known.of(long))
    again = asked(long.received)
    known.of(again)
    assert again.request.body.known is not None
