from pathlib import Path
from typing import Any

import pytest

from proxy.house import describe, make_plan, open_house
from proxy.settings import ConfigError, Settings
from proxy.store.base import StoreError

URL = "http://localhost:8080/v1"


def settings(folder: Path, *interceptors: Any, **more: Any) -> Settings:
    return Settings(
        upstream={"url": URL, **more.pop("upstream", {})},
        store=f"sqlite:///{folder / 'b.db'}",
        interceptors=interceptors,
        **more,
    )


def test_a_plan_opens_nothing(tmp_path) -> None:
    made = make_plan(settings(tmp_path, "caching"))
    assert [entry.name for entry in made.entries] == ["endpoint", "caching", "damping"]
    assert list(tmp_path.iterdir()) == []


def test_missing_secrets_are_errors_of_the_start(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"auth.token_name: the environment variable 'NO_SUCH' is not set"):
        make_plan(settings(tmp_path, auth={"token_name": "NO_SUCH"}))


def test_the_description_has_no_secrets(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KEY", "s3cret-value")
    made = make_plan(settings(tmp_path, "caching", upstream={"api_key_name": "KEY", "namespace": "has s3cret-value"}))
    assert "s3cret-value" not in str(describe(made))
    assert describe(made)["upstream"] == {"url": URL}


async def test_every_database_is_opened_once_and_closed(tmp_path) -> None:
    caching = {"name": "caching", "config": {"cache_dir": str(tmp_path / "own")}}
    async with open_house(make_plan(settings(tmp_path, caching, "request_logging"))) as house:
        assert sorted(store.path for store in house.stores) == [tmp_path / "b.db", tmp_path / "own" / "cache.db"]
    assert sorted(path.name for path in tmp_path.rglob("*.db-wal")) == []


async def test_a_cache_dir_that_cannot_be_used_is_named(tmp_path) -> None:
    (tmp_path / "own").write_text("a file")
    caching = {"name": "caching", "config": {"cache_dir": str(tmp_path / "own")}}
    with pytest.raises(StoreError, match=r"own/cache.db cannot be written .*cache_dir"):
        async with open_house(make_plan(settings(tmp_path, caching))):
            pass
