import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proxy.plugins import BUILT_IN, DEFAULT, find_plugin, fingerprint, plan
from proxy.settings import ConfigError, InterceptorSpec
from proxy.testing import ModelServer
from tests.built_in import OPTIONS
from tests.contract.sidecar import chat, sidecar

OWN = """
from proxy.core.pipeline import Layer
from proxy.interceptors.base import Config, Plugin, simple

class Mark:
    def __init__(self, config, services):
        self.word = config.word
    async def __call__(self, exchange, call_next):
        response = await call_next(exchange)
        response.headers = [*response.headers, (b"x-mark", self.word.encode())]
        return response

class MarkConfig(Config):
    word: str = "marked"

def fail(config, services):
    raise OSError("no such device")

PLUGIN = Plugin(MarkConfig, Layer.TRANSFORM, simple(Mark))
FAILS = Plugin(MarkConfig, Layer.TRANSFORM, simple(fail))
NO_PLUGIN = 7
"""


def specs(*items: Any) -> list[InterceptorSpec]:
    return [InterceptorSpec(name=item) if isinstance(item, str) else InterceptorSpec(**item) for item in items]


def names(*items: Any) -> list[str]:
    return [entry.name for entry in plan(specs(*items))]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch):
    def install(*entries: str, dist: str = "mark") -> None:
        (tmp_path / "mark_plugin.py").write_text(OWN)
        info = tmp_path / f"{dist}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[evalside.interceptors]\n" + "\n".join(entries))
        monkeypatch.syspath_prepend(str(tmp_path))

    return install


def test_every_order_of_a_list_is_the_same_pipeline() -> None:
    listed = ("caching", "request_logging", "response_logging", "payload_modifier", "endpoint")
    pipelines = {tuple(names(*order)) for order in itertools.permutations(listed)}
    assert pipelines == {("request_logging", "response_logging", "payload_modifier", "endpoint", "caching", "damping")}


TOGETHER = sorted(set(BUILT_IN) - {"logging", "completions_to_chat"})
"""All that can be listed at once: the one has others as its halves, the other has an opposite."""


@given(st.permutations(TOGETHER), st.data())
def test_every_order_of_all_built_ins_is_the_same_pipeline(order: list[str], data: st.DataObject) -> None:
    some = data.draw(st.sets(st.sampled_from(order), min_size=1))
    for listed, other in ((order, sorted(order)), ([name for name in order if name in some], sorted(some))):
        made, expected = (
            plan(specs(*({"name": name, "config": OPTIONS.get(name, {})} for name in names)))
            for names in (listed, other)
        )
        assert made == expected
        assert fingerprint(made) == fingerprint(expected)


def test_no_two_built_ins_stand_in_one_place() -> None:
    places = [(find_plugin(name).layer, find_plugin(name).rank) for name in BUILT_IN if name != "logging"]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("half", ["request_logging", "response_logging"])
def test_logging_and_its_halves_exclude_each_other(half: str) -> None:
    with pytest.raises(ConfigError, match=f"'{half}' is a part of 'logging'; keep one of them"):
        names(half, "logging")
    assert "logging" in names("logging", {"name": half, "enabled": False})


def test_options_may_be_numbers_of_any_size() -> None:
    entries = [plan(specs({"name": "endpoint", "config": {"extra_body": {"x": 2**70 + n}}})) for n in range(2)]
    assert fingerprint(entries[0]) != fingerprint(entries[1])


def test_the_default_and_the_relay() -> None:
    assert [entry.name for entry in plan(None)] == names(*DEFAULT)
    assert plan([]) == []


def test_what_is_not_enabled_is_not_there() -> None:
    assert names("caching", {"name": "request_logging", "enabled": False}) == ["endpoint", "caching", "damping"]
    assert names({"name": "caching", "enabled": False}) == []


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("cahcing", "unknown interceptor 'cahcing'; did you mean 'caching'"),
        ("zzz", "unknown interceptor 'zzz'; valid: caching, chat_to_completions"),
        (
            {"name": "caching", "config": {"cachedir": "x"}},
            "'caching': unknown option 'cachedir'; did you mean 'cache_dir'",
        ),
        ({"name": "caching", "config": {"mode": "sometimes"}}, "'caching': mode is 'sometimes': .*'on', 'off'"),
        (
            {"name": "caching", "config": {"mode": "on", "reuse_cached_responses": True}},
            "'caching': its options: mode and reuse_cached_responses",
        ),
        ({"name": "modify_tools", "config": {"add_properties": {"a": float("nan")}}}, "cannot be sent as JSON"),
        ({"name": "system_message"}, "'system_message': option 'system_message' is missing"),
        ({"name": "payload_modifier", "config": {"routes": ["caht"]}}, "unknown route 'caht'; did you mean 'chat'"),
        (
            {"name": "system_message", "config": {"system_message": "S", "routes": ["tokenize"]}},
            "no meaning on 'tokenize'",
        ),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(item: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(specs(item))


def test_all_mistakes_are_told_at_once_one_on_each_line() -> None:
    with pytest.raises(ConfigError) as raised:
        names(
            "cahcing",
            "endpoint",
            {"name": "caching", "config": {"cachedir": "x", "mode": "sometimes"}},
            "endpoint",
            {"name": "payload_modifier", "config": {"routes": ["caht", "complations", "chat"]}},
            {"name": "unknown-but-off", "enabled": False},
        )
    lines = str(raised.value).splitlines()
    expected = [
        "'endpoint' is listed twice; keep one entry",
        "unknown interceptor 'cahcing'",
        "'caching': mode is 'sometimes'",
        "'caching': unknown option 'cachedir'",
        "unknown route 'caht'",
        "unknown route 'complations'; did you mean 'completions'",
    ]
    assert [[text for text in expected if text in line] for line in lines] == [[text] for text in expected]


def test_twice_is_once_too_often() -> None:
    with pytest.raises(ConfigError, match="'caching' is listed twice"):
        names("caching", "caching")


def test_errors_show_no_header_values() -> None:
    headers = {"Authorization": "Bearer hunter22\n"}
    for value in (headers, {**headers, "X-Api-Key": ["hunter22"]}, {"x-api-key": 0.1 + 22}):
        with pytest.raises(ConfigError) as raised:
            plan(specs({"name": "payload_modifier", "config": {"headers_to_add": value}}))
        assert "hunter22" not in str(raised.value)
        assert "22.1" not in str(raised.value)


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    code = "from proxy.plugins import *; print(fingerprint(plan([InterceptorSpec(name='payload_modifier')])))"
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert said == {fingerprint(plan(specs("payload_modifier"))).encode() + b"\n"}


def test_the_fingerprint_differs_where_the_options_do() -> None:
    assert fingerprint(plan(specs("caching"))) != fingerprint(
        plan(specs({"name": "caching", "config": {"mode": "read"}}))
    )


async def test_an_installed_interceptor_works_by_its_name(tmp_path, installed) -> None:
    installed("mark = mark_plugin:PLUGIN")
    with ModelServer() as server:
        async with sidecar(tmp_path, server, [{"name": "mark", "config": {"word": "x"}}, "caching"]) as proxy:
            assert (await proxy.ask()).header("x-mark") == "x"
            hit = await proxy.ask()
            assert (hit.header("x-mark"), hit.cache) == ("x", "hit")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("mark = no_such_module:PLUGIN", "'mark' .no_such_module:PLUGIN. cannot be loaded: ModuleNotFoundError"),
        ("mark = mark_plugin:NOTHING", "cannot be loaded: AttributeError"),
        ("mark = mark_plugin:NO_PLUGIN", "is not a Plugin"),
    ],
)
def test_a_broken_installation_is_named(installed, entry: str, message: str) -> None:
    installed(entry)
    with pytest.raises(ConfigError, match=message):
        names("mark")


def test_two_distributions_with_one_name_are_refused(installed) -> None:
    installed("mark = mark_plugin:PLUGIN")
    installed("mark = mark_plugin:FAILS", dist="other")
    with pytest.raises(ConfigError, match=r"'mark' is installed twice .mark_plugin:FAILS, mark_plugin:PLUGIN."):
        names("mark")


async def test_an_interceptor_that_cannot_start_is_named(tmp_path, installed) -> None:
    installed("mark = mark_plugin:FAILS")
    with ModelServer() as server, pytest.raises(Exception, match="interceptor 'mark' cannot start: OSError"):
        async with sidecar(tmp_path, server, ["mark"]):
            pass


async def test_the_users_list_works_as_written(tmp_path) -> None:
    text = f"""
    - name: caching
      enabled: true
      config: {{cache_dir: {tmp_path}/cache, reuse_cached_responses: true}}
    - name: request_logging
      enabled: true
      config: {{max_requests: 50}}
    - name: response_logging
      enabled: true
      config: {{max_responses: 10}}
    """
    with ModelServer() as server:
        async with sidecar(tmp_path, server, yaml.safe_load(text)) as proxy:
            assert [(await proxy.ask(chat())).cache for _ in range(2)] == ["miss", "hit"]
            assert [row["cache"] for row in await proxy.rows()] == ["miss", "hit"]
