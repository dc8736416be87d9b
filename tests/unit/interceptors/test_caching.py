"""What `caching` itself decides; its parts and the whole are tested in tests/unit/cache and tests/contract."""

from typing import Any

import pytest
from pydantic import ValidationError

from proxy.interceptors import caching
from proxy.interceptors.caching import CachingConfig


@pytest.mark.parametrize("name", ["authorization", "X-API-Key", "cookie", "api-key", "x-session-token"])
def test_a_header_with_a_secret_is_no_part_of_the_key(name: str) -> None:
    with pytest.raises(ValidationError, match=f"'{name}' carries a secret, and what is in the key is stored"):
        CachingConfig(key_headers=(name, "x-tenant"))


@pytest.mark.parametrize("names", [[], ["x-tenant"], ["OpenAI-Beta", "x-token-budget"]])
def test_other_headers_may_be_part_of_the_key(names: list[str]) -> None:
    assert CachingConfig(key_headers=tuple(names)).key_headers == tuple(names)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "on", "reuse_cached_responses": True},
        {"mode": "replay", "bypass": True},
        {"bypass": True, "reuse_cached_responses": False},
    ],
)
def test_a_mode_is_said_in_one_way(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="say the same thing in different ways; keep one of them"):
        CachingConfig.model_validate(options)


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({}, "on"),
        ({"mode": True}, "on"),  # YAML reads `on` as true
        ({"mode": False}, "off"),
        ({"mode": "verify"}, "verify"),
        ({"reuse_cached_responses": True}, "on"),
        ({"reuse_cached_responses": False}, "write"),
        ({"bypass": True}, "off"),
    ],
)
def test_the_options_add_up_to_a_mode(options: dict[str, Any], mode: str) -> None:
    assert CachingConfig.model_validate(options).effective_mode == mode


def test_what_is_noted_is_forgotten_when_it_is_too_much(monkeypatch) -> None:
    monkeypatch.setattr(caching, "_NOTED", 2)
    noted = {1}
    caching._make_room(noted)
    assert noted == {1}
    noted.add(2)
    caching._make_room(noted)
    assert noted == set()
