from proxy.cache.place import place_of
from proxy.store.base import KeySource
from proxy.store.keys import key_of
from proxy.wire.key import KeyInput, cache_key, canonical
from tests.unit.cache.parts import BODY, RULES, request


def test_the_key_is_that_of_the_request() -> None:
    headers = [("openai-beta", "é"), ("openai-beta", "b")]
    source = KeySource("n", "POST", "/v1/chat/completions", "q=é", headers)
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    of = KeyInput("n", "POST", b"/v1/chat/completions", "q=é".encode("latin-1"), [*raw, (b"accept", b"*/*")])
    assert key_of(source, canonical(BODY)) == cache_key(of, canonical(BODY))
    assert key_of(source, canonical(BODY)) != key_of(KeySource("m", *source_parts(source)), canonical(BODY))


def source_parts(source: KeySource) -> tuple[str, str, str, list[tuple[str, str]]]:
    return source.method, source.path, source.query, source.headers


def test_a_header_that_somebody_put_on_the_list_is_in_the_key_taken_again() -> None:
    found = place_of(request(headers=[(b"openai-beta", b"x")]), "chat", RULES)
    without = place_of(request(), "chat", RULES)
    assert key_of(found.source("n"), found.request) == found.key("n") != without.key("n")
