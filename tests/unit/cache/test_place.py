import dataclasses
from typing import Any

import pytest

from proxy.cache.place import NotCacheable, Rules, place_of
from proxy.store.keys import key_of
from tests.unit.cache.parts import BODY, RULES, request


@pytest.mark.parametrize(
    ("route", "temperature", "rules", "deterministic"),
    [
        ("chat", 0, RULES, True),
        ("chat", 0.5, RULES, False),
        ("chat", None, RULES, False),
        ("chat", 0, dataclasses.replace(RULES, deterministic=False), False),
        ("embeddings", 0.5, dataclasses.replace(RULES, deterministic=False), True),
    ],
)
def test_what_may_be_shared(route: str, temperature: Any, rules: Rules, deterministic: bool) -> None:
    assert place_of(request({"temperature": temperature}), route, rules).deterministic is deterministic


def test_only_listed_headers_are_in_the_key_and_in_one_order() -> None:
    rules = Rules(key_headers=(b"b", b"a"))
    headers = [(b"B", b"2"), (b"accept", b"x"), (b"a", b"\xe9"), (b"b", b"1")]
    found = place_of(request(headers=headers, query=b"q=%20"), "chat", rules)
    assert found.headers == [("a", "é"), ("b", "2"), ("b", "1")]
    assert (found.method, found.path, found.query) == ("POST", "/v1/chat/completions", "q=%20")
    assert found.key("x") == key_of(found.source("x"), found.request)
    assert len({found.key("x"), found.key("y"), place_of(request(headers=headers), "chat", rules).key("x")}) == 3


@pytest.mark.parametrize(("model", "found"), [("m", "m"), (7, None), (None, None)])
def test_the_model_that_is_asked(model: Any, found: str | None) -> None:
    assert place_of(request({"model": model}), "chat", RULES).model == found


REMOTE = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a/b"}}]}]}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b'{"a": NaN}', "not strict JSON"),
        (b'{"a": 1, "a": 1}', "not strict JSON"),
        ({"previous_response_id": "x"}, "previous_response_id"),
        (REMOTE, "allow_remote_media"),
    ],
)
def test_what_belongs_nowhere(document: Any, why: str) -> None:
    with pytest.raises(NotCacheable, match=why):
        place_of(request(document), "chat", RULES)


def test_remote_media_may_be_allowed() -> None:
    assert place_of(request(REMOTE), "chat", dataclasses.replace(RULES, allow_remote_media=True)).shape == "plain"


def test_an_edit_that_json_cannot_carry_belongs_nowhere() -> None:
    made = request(BODY)
    made.body.edit()["prompt"] = "\ud800"
    with pytest.raises(NotCacheable, match="cannot be written as JSON"):
        place_of(made, "chat", RULES)


def test_a_secret_in_the_query_tells_keys_apart_and_is_nowhere() -> None:
    places = [place_of(request(query=query), "chat", RULES) for query in (b"a=1&api_key=sk-one", b"a=1&api_key=sk-two")]
    assert len({place.key("n") for place in places}) == 2
    assert all("sk-" not in place.query and "a=1" in place.query for place in places)
    assert place_of(request(query=b"b=%20x"), "chat", RULES).query == "b=%20x"
    assert place_of(request(query=b"b=%7E+&key=k&c"), "chat", RULES).query.startswith("b=%7E+&key=sha256-")
    assert place_of(request(query=b"b=%7E+&key=k&c"), "chat", RULES).query.endswith("&c")
