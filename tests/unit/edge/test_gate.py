import hmac

import pytest

from proxy.core.errors import BindNotAllowed, ForeignHost, ForeignOrigin, ProxyError, Unauthorized
from proxy.edge.gate import Gate, is_loopback

HERE = {"server": ("127.0.0.1", 4000)}
AWAY = {"server": ("10.0.0.1", 4000)}


def gate(token=None, anonymous=False, hosts=()):
    return Gate(token, anonymous=anonymous, allowed_hosts=hosts)


def admits(which, headers, *, scope=HERE, admin=False, needs_token=True):
    try:
        which.admit(scope, headers, admin=admin, needs_token=needs_token)
    except ProxyError:
        return False
    return True


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "example.com", "localhost.evil.example", "0.0.0.0", "10.0.0.1", "::", "::ffff:10.0.0.1"]
)
def test_not_loopback(host):
    assert not is_loopback(host)


def test_bind_rule():
    with pytest.raises(BindNotAllowed, match="10\\.0\\.0\\.1"):
        gate().admit(AWAY, [], admin=False)
    assert admits(gate(anonymous=True), [], scope=AWAY)
    assert admits(gate(token="t"), [(b"x-evalside-token", b"t")], scope=AWAY)
    for scope in ({}, {"server": None}, {"server": ("/run/socket", None)}, HERE):
        assert admits(gate(), [], scope=scope), scope


@pytest.mark.parametrize("host", [b"localhost:4000", b"127.0.0.1", b"[::1]:4000", b"[::1]", b"Sidecar:1"])
def test_known_hosts(host):
    assert admits(gate(hosts=["sidecar"]), [(b"host", host)], admin=True)
    assert admits(gate(), [(b"host", host)], admin=True) == (host != b"Sidecar:1")


@pytest.mark.parametrize(
    "headers", [[], [(b"host", b"")], [(b"host", b"evil.example")], [(b"host", b"localhost.evil")]]
)
def test_foreign_hosts(headers):
    with pytest.raises(ForeignHost):
        gate().admit(HERE, headers, admin=True)
    assert admits(gate(), headers, admin=False)


@pytest.mark.parametrize("origin", [b"null", b"", b"http://evil.example", b"http://[", b"localhost"])
def test_foreign_origins(origin):
    with pytest.raises(ForeignOrigin):
        gate().admit(HERE, [(b"origin", origin)], admin=False)


@pytest.mark.parametrize(
    "origin", [b"http://localhost:4000", b"https://127.0.0.1", b"http://[::1]:4000", b"http://Board:1"]
)
@pytest.mark.parametrize("admin", [True, False])
def test_own_origins(origin, admin):
    headers = [(b"host", b"localhost"), (b"origin", origin)]
    assert admits(gate(hosts=["board"]), headers, admin=admin)
    assert admits(gate(), headers, admin=admin) == (origin != b"http://Board:1")


@pytest.mark.parametrize("value", [b"Bearer t", b"bearer  t ", b"BEARER t"])
def test_bearer_carries_the_token(value):
    guarded = gate(token="t")
    assert admits(guarded, [(b"authorization", value)])
    assert guarded.without_token([(b"authorization", value), (b"a", b"b")]) == [(b"a", b"b")]


@pytest.mark.parametrize("value", [b"Basic t", b"Bearer", b"Bearer tt", b""])
def test_what_does_not_carry_the_token(value):
    guarded = gate(token="t")
    with pytest.raises(Unauthorized):
        guarded.admit(HERE, [(b"authorization", value)], admin=False)
    assert guarded.without_token([(b"authorization", value)]) == [(b"authorization", value)]
    assert admits(guarded, [], needs_token=False)


def test_the_bare_token_is_no_bearer_and_is_taken_away_all_the_same():
    guarded = gate(token="t")
    with pytest.raises(Unauthorized):
        guarded.admit(HERE, [(b"authorization", b"t")], admin=False)
    assert guarded.without_token([(b"authorization", b"t"), (b"cookie", b"t")]) == []


def test_without_a_token_nothing_is_taken_away():
    assert gate().without_token([(b"authorization", b"Bearer x")]) == [(b"authorization", b"Bearer x")]


def test_token_is_compared_in_constant_time(monkeypatch):
    compared = []

    def compare(given, token):
        compared.append((given, token))
        return given == token

    monkeypatch.setattr(hmac, "compare_digest", compare)
    gate(token="t").admit(HERE, [(b"x-evalside-token", b"t")], admin=False)
    assert compared == [(b"t", b"t")]
