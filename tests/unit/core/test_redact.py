import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.redact import REDACTED, Redactor, without_secrets

SECRET = "sk-live-0123456789"


@pytest.mark.parametrize(
    "name",
    [
        b"Authorization", b"Proxy-Authorization", b"cookie", b"Set-Cookie", b"x-api-key", b"api-key", b"apikey",
        b"x-goog-api-key", b"Ocp-Apim-Subscription-Key", b"x-evalside-token", b"x-auth-token", b"X-Amz-Security-Token",
        b"x-amz-signature", b"cf-access-client-secret", b"cf-access-jwt-assertion", b"x-session-id", b"x-password",
    ],
)  # fmt: skip
def test_secret_headers_are_replaced(name):
    assert Redactor().headers([(name, b"value")]) == [(name, REDACTED.encode())]


@pytest.mark.parametrize(
    "name", [b"content-type", b"user-agent", b"x-ratelimit-remaining-tokens", b"openai-organization", b"x-request-id"]
)
def test_other_headers_stay_unless_they_hold_a_known_secret(name):
    redactor = Redactor([SECRET])
    assert redactor.headers([(name, b"value")]) == [(name, b"value")]
    assert SECRET.encode() not in redactor.headers([(name, b"x " + SECRET.encode())])[0][1]


def test_known_secrets_leave_bodies_and_texts_the_longest_first():
    redactor = Redactor([SECRET, SECRET + "-long", None, "", "short"])
    assert redactor.raw(f'{{"a": "{SECRET}-long", "b": "{SECRET}", "c": "short"}}'.encode()) == (
        f'{{"a": "{REDACTED}", "b": "{REDACTED}", "c": "short"}}'.encode()
    )
    assert redactor.text(f"key {SECRET} é \ud800") == f"key {REDACTED} é ?"


def test_without_secrets_a_text_is_returned_as_it_is():
    assert Redactor().text("\ud800") == "\ud800"


@pytest.mark.parametrize(
    "header",
    [(b"Authorization", f"Bearer {SECRET}"), (b"x-goog-api-key", SECRET), (b"Ocp-Apim-Subscription-Key", SECRET)],
)
def test_a_requests_own_secret_leaves_its_body(header):
    name, value = header
    body = f'{{"key": "{SECRET}", "max_tokens": 5}}'.encode()
    shown = Redactor().raw(body, [(name, value.encode()), (b"accept", b"max_tokens"), (b"api-key", b"5")])
    assert shown == f'{{"key": "{REDACTED}", "max_tokens": 5}}'.encode()


def test_a_secret_header_that_the_body_does_not_repeat_changes_nothing():
    assert Redactor().raw(b"{}", [(b"authorization", b"Bearer abcdefgh"), (b"authorization", b"")]) == b"{}"


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("limit=5&q=a%20b", "limit=5&q=a%20b"),
        ("", ""),
        ("a=%7E&key=abc&b=%20+", "a=%7E&key=[redacted]&b=%20+"),
        ("key=abc&max_tokens=5", "key=[redacted]&max_tokens=5"),
        ("a=&api_key=abc&sig=x", "a=&api_key=[redacted]&sig=[redacted]"),
        (f"q={SECRET}", "q=[redacted]"),
        (SECRET, "[redacted]"),
        ("q=sk%2Dlive%2D0123456789", "q=[redacted]"),
        (f"key=abc&q={SECRET}", "key=[redacted]&q=[redacted]"),
    ],
)
def test_queries(query, shown):
    assert Redactor([SECRET]).query(query) == shown


@pytest.mark.parametrize(
    ("query", "replaced"),
    [
        ("", ""),
        ("a=%7E+b&key=x%2By&c", "a=%7E+b&key=<x%2By>&c"),  # every other byte stays
        ("a=1;api%5Fkey=x;b=2", "a=1;api%5Fkey=<x>;b=2"),  # as some servers read it
        ("key&key=&key==", "key&key=<>&key=<=>"),
    ],
)
def test_the_secrets_of_a_query(query, replaced):
    assert without_secrets(query, lambda value: f"<{value}>") == replaced


def test_a_configuration_shows_options_and_no_secrets():
    config = {
        "api_key_name": "API_KEY",
        "token_name": "EVALSIDE_TOKEN",
        "interceptors": [
            {
                "headers_to_add": {"x-api-key": "abc", "x-team": f"a{SECRET}"},
                "params_to_add": {"api_key": "abc", "max_tokens": 5, "password": None, "note": SECRET},
                "start_reasoning_token": "<think>",
                "key_headers": ("openai-beta",),
                "headers": None,
                "extra_headers": "none",
            }
        ],
    }
    assert Redactor([SECRET]).document(config) == {
        "api_key_name": "API_KEY",
        "token_name": "EVALSIDE_TOKEN",
        "interceptors": [
            {
                "headers_to_add": {"x-api-key": REDACTED, "x-team": f"a{REDACTED}"},
                "params_to_add": {"api_key": REDACTED, "max_tokens": 5, "password": None, "note": REDACTED},
                "start_reasoning_token": "<think>",
                "key_headers": ["openai-beta"],
                "headers": None,
                "extra_headers": "none",
            }
        ],
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no connection to http://user:pw@host/v1: refused", "no connection to http://[redacted]@host/v1: refused"),
        (
            "at\nhttps://host/?api_key=abc and s3://a/?sig=x",
            "at\nhttps://host/?api_key=[redacted] and s3://a/?sig=[redacted]",
        ),
        ("see HTTP://host/?limit=5, or https://[", "see HTTP://host/?limit=5, or https://["),
    ],
)
def test_urls_within_a_text_show_no_secrets(text, shown):
    assert Redactor().document({"reason": [text]}) == {"reason": [shown]}


_WORDS = st.sampled_from(
    [
        "ok",
        "https://user:pw@host/?api_key=1",
        "https://host/v1",
        f"key {SECRET}",
        "s3://a b",
        "at https://host/?key=1 now",
        "api_key",
        "headers",
        "",
    ]
)
_VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), _WORDS, st.lists(_WORDS))
_NAMES = st.sampled_from(["status", "token", "headers", "path", "api_key", "reason", "authorization"])


@given(st.dictionaries(_NAMES, st.one_of(_VALUES, st.dictionaries(_NAMES, _VALUES))), st.booleans())
def test_what_is_harmless_stays_as_it_is(fields, knows):
    redactor = Redactor([SECRET] if knows else [])
    assert not redactor.harmless(fields) or redactor.document(fields) == fields


@pytest.mark.parametrize("fields", [{"status": 200, "cache": None, "ms": 1.5, "path": "/v1/models"}, {}])
def test_plain_fields_are_harmless(fields):
    assert Redactor([SECRET]).harmless(fields)
