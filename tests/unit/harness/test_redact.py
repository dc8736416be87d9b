import pytest

from harness import redact as harness
from harness.api import ApiEndpoint
from proxy.core import redact as proxy

SECRET = "sk-live-0123456789"
CASES = [
    *(("sent", name, True) for name in (
        "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Auth", "X-Auth-Key", "X-Auth-Token",
        "X-Api-Key", "x-apikey", "api-key", "apikey", "Ocp-Apim-Subscription-Key", "X-Goog-Api-Key",
        "X-Amz-Security-Token", "X-Amz-Signature", "X-Amz-Credential", "cf-access-client-secret",
        "cf-access-jwt-assertion", "X-Evalside-Token",
        "X-Session-Id", "session", "sessionid", "X-Password", "passwd", "pwd", "passphrase", "Private-Token",
        "key", "token", "sig", "signature", "api_key", "access_token", "accessToken", "refresh.token", "hf_token",
        "client_secret", "clientSecret", "subscriptionKey", "aws_secret_access_key", "credentials", "bearer",
    )),
    *(("sent", name, False) for name in (
        "max_tokens", "max_completion_tokens", "temperature", "tokenizer", "top_k", "top_p", "logit_bias", "user",
        "model", "stop", "seed", "keyword", "keys", "monkey", "design", "author", "signatures", "api-version",
        "api_key_name",
        "content-type", "user-agent", "x-request-id", "openai-organization", "x-ratelimit-remaining-tokens",
        "WWW-Authenticate",
    )),
    *(("option", name, True) for name in (
        "authorization", "Authorization", "x-api-key", "api_key", "apikey", "judge_api_key", "password", "passwd",
        "passphrase", "secret", "client_secret", "hf_auth_token", "access_token", "bearer_token", "client-token",
        "session_token", "token", "cookie", "set-cookie", "credentials", "private_key", "aws_secret_access_key",
        "Ocp-Apim-Subscription-Key",
    )),
    *(("option", name, False) for name in (
        "api_key_name", "token_name", "start_reasoning_token", "end_reasoning_token", "stop_token", "max_tokens",
        "temperature", "tokenizer", "top_k", "key_headers", "cache_key", "sort_key", "session_affinity", "keys",
        "signature_algorithm", "cookies_allowed", "authorized", "secrets_dir",
    )),
]  # fmt: skip


@pytest.mark.parametrize("name", ["SECRET_NAME", "SECRET_OPTION", "SENT_MAPS", "REDACTED", "_URL", "_SHORTEST"])
def test_both_packages_have_one_rule(name):
    assert getattr(harness, name) == getattr(proxy, name)  # patterns are equal where their texts and flags are


@pytest.mark.parametrize("rule", [harness.Redactor(), proxy.Redactor()], ids=["harness", "proxy"])
@pytest.mark.parametrize(("place", "name", "secret"), CASES)
def test_names(rule, place, name, secret):
    shown = "[redacted]" if secret else "value"
    if place == "option":
        assert rule.document({"interceptors": [{name: "value"}]}) == {"interceptors": [{name: shown}]}
        return
    for where in ("headers_to_add", "extra_headers", "headers", "params_to_add", "extra_body"):
        assert rule.document({where: {name: "value"}}) == {where: {name: shown}}
    assert rule.document({where: [{"deeper": {name: 5}}]}) == {where: [{"deeper": {name: shown if secret else 5}}]}
    assert rule.document({"endpoint": f"http://h/x?a=1&{name}=value"}) == {"endpoint": f"http://h/x?a=1&{name}={shown}"}


@pytest.mark.parametrize("name", [case[1] for case in CASES if case[0] == "sent"])
def test_a_header_of_that_name_is_treated_the_same(name):
    [(_, shown)] = proxy.Redactor().headers([(name.encode(), b"value")])
    assert shown.decode() == harness.Redactor().document({"headers": {name: "value"}})["headers"][name]


@pytest.mark.parametrize("rule", [harness.Redactor([SECRET]), proxy.Redactor([SECRET])], ids=["harness", "proxy"])
@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"password": ["a", "b"]}, {"password": "[redacted]"}),
        ({"password": 12345678}, {"password": "[redacted]"}),
        ({"password": None, "token": "", "secret": True}, {"password": None, "token": "", "secret": True}),
        ({"credentials": {"user": "me", "password": "x"}}, {"credentials": {"user": "me", "password": "[redacted]"}}),
        ({50256: "x"}, {50256: "x"}),
        ({"note": f"a {SECRET} b"}, {"note": "a [redacted] b"}),
        ((1, SECRET), [1, "[redacted]"]),
        ("postgresql://me:hunter2@db/x", "postgresql://[redacted]@db/x"),
        ("https://ghp_0123@h", "https://[redacted]@h"),
        ("http://h/a?b=c%20d&e#f", "http://h/a?b=c%20d&e#f"),
        (f"http://h/{SECRET}?q={SECRET}", "http://h/[redacted]?q=[redacted]"),
        (f"http://[{SECRET}", "http://[[redacted]"),
        ("read http://h/?key=1 first", "read http://h/?key=[redacted] first"),
    ],
)
def test_values(rule, given, shown):
    assert rule.document(given) == shown


def test_the_variables_that_a_configuration_names_are_known_by_value(monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    monkeypatch.setenv("JUDGE_KEY", "judge-0123456789")
    monkeypatch.setenv("OTHER", "other-0123456789")
    monkeypatch.setenv("SHORT", "short")
    judge = {"judges": [{"api_key": "JUDGE_KEY", "model_name": "OTHER"}, {"token_name": "SHORT", "api_key_name": None}]}
    adapter = {"interceptors": [{"name": "judging", "config": judge}]}
    endpoint = ApiEndpoint.model_validate({"url": "http://h", "api_key": "MY_KEY", "adapter_config": adapter})
    text = f"{SECRET}-judge-0123456789-other-0123456789-short"
    assert harness.Redactor.of(endpoint).text(text) == "[redacted]-[redacted]-other-0123456789-short"
    assert harness.Redactor.of(endpoint).strings({"a": SECRET, "b": 1}) == {"a": "[redacted]", "b": 1}


def test_an_unset_variable_hides_nothing(monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    assert harness.Redactor.of(ApiEndpoint(url="http://h", api_key_name="MY_KEY")).text("MY_KEY") == "MY_KEY"


def test_of_two_secrets_the_longer_is_replaced_first():
    assert harness.Redactor([SECRET, f"{SECRET}-long"]).text(f"{SECRET}-long {SECRET}") == "[redacted] [redacted]"


def test_more_secrets_may_become_known():
    redactor = harness.Redactor(["key-123456"]).also("token-123456", "")
    assert redactor.text("key-123456 token-123456 a") == "[redacted] [redacted] a"
