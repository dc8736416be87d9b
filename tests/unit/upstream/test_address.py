import pytest

from proxy.upstream.address import parse_address


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/chat/completions", "/v1/completions/", "/v1/models"])
def test_every_form_is_the_same_server(path):
    address = parse_address(f" http://host:8000{path}")
    assert (address.url, address.host) == ("http://host:8000/v1", "host:8000")
    assert address.locate(b"/v1/models") == b"/v1/models"
    assert address.locate(b"/v1") == b"/v1"
    assert address.locate(b"/v1x") == b"/v1x"
    assert address.locate(b"/health") == b"/health"


@pytest.mark.parametrize("path", ["/base", "/base/v1", "/base/v1/embeddings"])
def test_base_path(path):
    address = parse_address(f"https://host{path}")
    assert address.locate(b"/v1/models") == b"/base/v1/models"
    assert address.locate(b"/health") == b"/base/health"


def test_endpoint_without_v1():
    assert (
        parse_address("http://h/openai/chat/completions").locate(b"/v1/chat/completions") == b"/openai/chat/completions"
    )
    assert parse_address("http://h/chat/completions").locate(b"/v1/models") == b"/v1/models"


@pytest.mark.parametrize(
    ("path", "located"),
    [
        ("/v1/projects/p/openapi/chat/completions", "/v1/projects/p/openapi/chat/completions"),
        ("/v1/account/gateway/v1", "/v1/account/gateway/v1/chat/completions"),
        ("/v1beta/openai", "/v1beta/openai/v1/chat/completions"),
    ],
)
def test_a_gateways_own_v1_is_part_of_its_path(path, located):
    assert parse_address(f"http://h{path}").locate(b"/v1/chat/completions") == located.encode()


def test_ipv6():
    assert parse_address("http://[::1]:8000").url == "http://[::1]:8000/v1"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("host:8000", "not an http"),
        ("ftp://host", "not an http"),
        ("http://", "not an http"),
        ("http://host:port", "not a URL"),
        ("http://[", "not a URL"),
        ("http://user@host", "credentials"),
        ("http://:secret@host", "credentials"),
        ("http://host/v1?a=1", "query"),
        ("http://host/#x", "fragment"),
        ("http://h:1/v1/chat/completion", "no endpoint '/chat/completion'; did you mean '/chat/completions'"),
        ("http://h/base/v1/embedings/", "no endpoint '/embedings'; did you mean '/embeddings'"),
        (
            "http://h/v1/nothing-like-it",
            "no endpoint '/nothing-like-it'; valid: /chat/completions, .* ends with its /v1",
        ),
    ],
)
def test_what_is_no_address(url, says):
    with pytest.raises(ValueError, match=says) as caught:
        parse_address(url)
    assert "secret" not in str(caught.value)
