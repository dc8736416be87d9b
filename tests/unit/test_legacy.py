from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from proxy import cli
from proxy.house import make_plan
from proxy.legacy import BESIDE, FLAT, converted
from proxy.plugins import DEFAULT, plan
from proxy.settings import ConfigError, load_settings
from proxy.testing import ModelServer
from tests.contract.sidecar import chat, sidecar

UPSTREAM = {"upstream": {"url": "http://localhost:8080/v1"}}
ALL: dict[str, Any] = {
    "use_caching": True,
    "caching_dir": "c",
    "save_requests": True,
    "save_responses": True,
    "max_saved_requests": 5,
    "max_saved_responses": 6,
    "use_system_prompt": True,
    "custom_system_prompt": "Be brief.",
    "use_request_logging": True,
    "max_logged_requests": 7,
    "use_response_logging": True,
    "max_logged_responses": 8,
    "use_reasoning": True,
    "process_reasoning_traces": True,
    "start_reasoning_token": "<t>",
    "end_reasoning_token": "</t>",
    "include_if_reasoning_not_finished": False,
    "track_reasoning": False,
    "use_progress_tracking": True,
    "progress_tracking_url": "http://localhost:9/",
    "progress_tracking_interval": 9,
    "use_raise_client_errors": True,
    "tracking_requests_stats": True,
    "logging_aggregated_stats_interval": 11,
    "output_dir": "o",
    "params_to_add": {"seed": 1},
    "params_to_remove": ["user"],
    "params_to_rename": {"a": "b"},
    "headers_to_add": {"x-a": "1"},
    "headers_to_remove": ["x-b"],
    "headers_to_rename": {"x-c": "x-d"},
    "use_nvcf": False,
    "use_omni_info": False,
}
DEFAULTS: dict[str, dict[str, Any]] = {name: {} for name in DEFAULT}


def settings(tmp_path: Path, document: dict[str, Any]) -> Any:
    path = tmp_path / "proxy.yaml"
    path.write_text(yaml.safe_dump(UPSTREAM | document))
    return load_settings(path)


def interceptors(flags: dict[str, Any]) -> dict[str, dict[str, Any]]:
    values, _ = converted(flags)
    return {item["name"]: item.get("config", {}) for item in values["interceptors"]}


def test_every_flag_has_its_place() -> None:
    assert interceptors(ALL) == {
        "request_logging": {"max_requests": 7},
        "response_logging": {"max_responses": 8},
        "response_stats": {"logging_aggregated_stats_interval": 11},
        "progress_tracking": {
            "progress_tracking_url": "http://localhost:9/",
            "progress_tracking_interval": 9,
            "output_dir": "o",
            "request_method": "POST",
        },
        "raise_client_errors": {},
        "system_message": {"system_message": "Be brief."},
        "payload_modifier": {name: value for name, value in ALL.items() if "_to_" in name},
        "reasoning": {
            "start_reasoning_token": "<t>",
            "end_reasoning_token": "</t>",
            "include_if_not_finished": False,
            "enable_reasoning_tracking": False,
        },
        "caching": {
            "cache_dir": "c",
            "save_requests": True,
            "save_responses": True,
            "max_saved_requests": 5,
            "max_saved_responses": 6,
        },
    }
    assert set(ALL) == FLAT


def test_what_it_becomes_is_a_pipeline(tmp_path: Path) -> None:
    made = settings(tmp_path, ALL)
    assert {entry.name for entry in plan(made.interceptors)} == {*interceptors(ALL), "endpoint", "damping"}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"use_caching": True}, DEFAULTS),
        ({"use_caching": False, "caching_dir": "c"}, {k: v for k, v in DEFAULTS.items() if k != "caching"}),
        ({"use_request_logging": False}, {k: v for k, v in DEFAULTS.items() if k != "request_logging"}),
        ({"use_response_logging": False}, {k: v for k, v in DEFAULTS.items() if k != "response_logging"}),
        ({"tracking_requests_stats": False}, {k: v for k, v in DEFAULTS.items() if k != "response_stats"}),
        ({"output_dir": "o"}, DEFAULTS | {"caching": {"cache_dir": "o/cache"}}),
        ({"use_reasoning": True}, DEFAULTS | {"reasoning": {}}),
        ({"use_reasoning": False, "end_reasoning_token": "</think>"}, DEFAULTS),
        ({"params_to_add": {}, "params_to_remove": None}, DEFAULTS),
        (
            {"use_progress_tracking": True, "output_dir": "o"},
            DEFAULTS
            | {"progress_tracking": {"output_dir": "o", "request_method": "POST"}, "caching": {"cache_dir": "o/cache"}},
        ),
    ],
)
def test_what_is_not_said_is_the_default(flags: dict[str, Any], expected: dict[str, Any]) -> None:
    assert interceptors(flags) == expected


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"use_caching": True, "interceptors": ["caching"]}, "'use_caching' is a flag of the older form, and"),
        ({"use_caching": True, "interceptors": []}, "keep one of them"),
        ({"use_nvcf": True}, "'use_nvcf' cannot be honored: .*upstream.url"),
        ({"use_omni_info": True}, "'use_omni_info' cannot be honored: .*headers_to_add"),
        ({"custom_system_prompt": "x"}, "'custom_system_prompt' has no effect without 'use_system_prompt: true'"),
        ({"end_reasoning_token": "x"}, "has no effect without 'process_reasoning_traces: true'"),
        ({"progress_tracking_interval": 3}, "has no effect without 'use_progress_tracking: true'"),
        ({"use_system_prompt": True}, "'use_system_prompt' needs 'custom_system_prompt'"),
        ({"use_progress_tracking": True}, "needs 'progress_tracking_url' or 'output_dir'"),
        ({"use_caching": "sometimes"}, "'use_caching': Input should be a valid boolean"),
        ({"use_cachng": True}, "unknown key 'use_cachng'; did you mean 'use_caching'"),
        ({"mode": "client"}, "'mode' is 'client'"),
        ({"mode": "servre"}, "'mode': Input should be 'server' or 'client'"),
        ({"discovery": {"modules": ["my.own"], "dirs": []}}, "'discovery' names 'my.own': .*module:attribute"),
        ({"post_eval_hooks": [{"name": "upload"}]}, "'post_eval_hooks' has 'upload'"),
    ],
)
def test_what_cannot_be_honored_is_an_error_with_the_way_out(tmp_path, document: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(tmp_path, document)


def test_all_mistakes_are_told_at_once(tmp_path) -> None:
    with pytest.raises(ConfigError) as raised:
        settings(tmp_path, {"use_nvcf": True, "use_omni_info": True, "track_reasoning": True})
    assert len(str(raised.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"mode": "server", "discovery": {"modules": [], "dirs": []}, "post_eval_hooks": []}, []),
        ({"generate_html_report": True, "html_report_size": 5, "include_json": True}, ["reports are made on demand"]),
        ({"post_eval_hooks": ["post_eval_report"]}, ["reports are made on demand"]),
        ({"log_failed_requests": True}, ["every exchange is logged"]),
        ({"endpoint_type": "chat"}, ["every request has its own route"]),
    ],
)
def test_what_stands_beside_interceptors_may_do_so(tmp_path, document: dict[str, Any], said: list[str]) -> None:
    made = settings(tmp_path, {**document, "interceptors": ["caching"]})
    assert [spec.name for spec in made.interceptors] == ["caching"]
    assert len(made.notes) == len(said)
    assert all(text in note for text, note in zip(said, made.notes, strict=True))
    assert set(document) <= BESIDE


def test_null_counts_as_not_given() -> None:
    nothing = dict.fromkeys(FLAT | BESIDE)
    assert converted(nothing) == ({}, [])
    assert converted({**nothing, "interceptors": ["caching"]}) == ({"interceptors": ["caching"]}, [])


def test_a_configuration_without_any_of_it_is_left_alone() -> None:
    values = {"upstream": {"url": "x"}, "interceptors": ["caching"]}
    assert converted(values) == (values, [])


def test_the_warning_is_the_newer_form_and_shows_no_secret(tmp_path) -> None:
    flags = {"use_reasoning": True, "headers_to_add": {"Authorization": "Bearer hunter22"}, "use_caching": False}
    made = settings(tmp_path, flags)
    [note] = made.notes
    said, _, document = note.partition("\n")
    assert said.startswith("flat flags (headers_to_add, use_caching, use_reasoning) are the older form")
    assert "hunter22" not in note
    printed = yaml.safe_load(document.replace("'[redacted]'", "Bearer hunter22"))
    again = settings(tmp_path, printed)
    assert again.interceptors == made.interceptors
    assert again.notes == ()
    assert make_plan(again).fingerprint == make_plan(made).fingerprint


def test_check_prints_it(tmp_path) -> None:
    path = tmp_path / "proxy.yaml"
    path.write_text(yaml.safe_dump(UPSTREAM | {"use_reasoning": True}))
    result = CliRunner().invoke(cli.app, ["check", "--config", str(path)])
    assert result.exit_code == 0
    assert "note: flat flags (use_reasoning) are the older form" in result.stderr
    assert "- name: reasoning" in result.stderr


async def test_the_console_says_it_and_the_flags_work(tmp_path, capsys) -> None:
    values, _ = converted({"use_system_prompt": True, "custom_system_prompt": "S", "use_caching": False})
    made = settings(tmp_path, {"params_to_add": {"seed": 1}})
    with ModelServer() as server:
        async with sidecar(tmp_path, server, **values) as proxy:
            assert (await proxy.ask(chat())).cache == "off"
            assert proxy.last["messages"][0] == {"role": "system", "content": "S"}
        assert "configuration:" not in capsys.readouterr().out
        plain = made.model_copy(update={"upstream": made.upstream.model_copy(update={"url": server.url})})
        from proxy.app import create_app
        from proxy.testing import lifespan

        async with lifespan(create_app(plain.model_copy(update={"store": f"sqlite:///{tmp_path}/n.db"}))):
            pass
    assert "configuration: flat flags (params_to_add) are the older form" in capsys.readouterr().out
