"""Every option of both generations of the reference is known here: it works, or it is said why it is not there."""

from typing import Any

import pytest

from proxy.plugins import BUILT_IN, find_plugin, plan
from proxy.settings import ConfigError, InterceptorSpec

OPTIONS: dict[str, dict[str, Any]] = {
    "caching": {
        "cache_dir": "c",
        "reuse_cached_responses": False,
        "save_requests": False,
        "save_responses": True,
        "max_saved_requests": None,
        "max_saved_responses": None,
        "log_level": "INFO",
        "bypass": False,
    },
    "endpoint": {
        "upstream_url": "http://x/v1",
        "api_key": None,
        "extra_body": {},
        "extra_headers": {},
        "request_timeout": 120,
        "max_retries": 0,
        "retry_on_status": [429, 502, 503, 504],
        "max_concurrent": 64,
        "model_traffic_store_id": "s",
    },
    "payload_modifier": {
        "params_to_remove": None,
        "params_to_add": None,
        "params_to_rename": None,
        "headers_to_add": None,
        "headers_to_remove": None,
        "headers_to_rename": None,
    },
    "system_message": {"system_message": "S", "strategy": "prepend"},
    "request_logging": {"log_request_body": True, "log_request_headers": True, "max_requests": 2},
    "response_logging": {"log_response_body": True, "log_response_headers": True, "max_responses": None},
    "logging": {},
    "reasoning": {
        "end_reasoning_token": "</think>",
        "start_reasoning_token": "<think>",
        "add_reasoning": True,
        "migrate_reasoning_content": False,
        "enable_reasoning_tracking": True,
        "include_if_not_finished": True,
        "stats_file_saving_interval": None,
        "enable_caching": True,
        "cache_dir": "/tmp/reasoning_interceptor",
        "logging_aggregated_stats_interval": 100,
    },
    "reasoning_replay": {
        "mode": "think_tags",
        "tag_open": "<think>",
        "tag_close": "</think>",
        "cache_max_entries": 10000,
        "log_misses": False,
    },
    "response_stats": {
        "collect_token_stats": True,
        "collect_finish_reasons": True,
        "collect_tool_calls": True,
        "stats_file_saving_interval": 100,
        "save_individuals": True,
        "cache_dir": "/tmp/response_stats_interceptor",
        "logging_aggregated_stats_interval": 100,
    },
    "progress_tracking": {
        "progress_tracking_url": "http://localhost:8000",
        "progress_tracking_interval": 1,
        "progress_tracking_interval_seconds": None,
        "request_method": "PATCH",
        "output_dir": None,
    },
    "raise_client_errors": {
        "exclude_status_codes": [408, 429],
        "status_codes": None,
        "status_code_range_start": 400,
        "status_code_range_end": 499,
    },
    "streaming": {},
    "finish_reason": {},
    "http_pairs_dump": {"dump_path": "pairs.json", "first_n": 50},
    "drop_params": {"params": ["seed"]},
    "consolidate_system": {"separator": "\n\n"},
    "modify_tools": {"strip_properties": ["a"], "add_properties": {"b": {}}},
    "turn_counter": {
        "every": 1,
        "max_turns": None,
        "position": "system_message",
        "trigger": "threshold",
        "interval": 1,
    },
    "log_tokens": {},
}
SECOND: dict[str, dict[str, Any]] = {
    "response_stats": {"every": 100},
    "progress_tracking": {"webhook_url": None, "every": 10},
}
"""Options of the second generation that are other names for those of the first."""


def test_every_interceptor_of_the_reference_is_there() -> None:
    assert set(OPTIONS) <= set(BUILT_IN)


@pytest.mark.parametrize(("name", "options"), [*OPTIONS.items(), *SECOND.items()])
def test_every_option_works_or_is_said_to_be_elsewhere(name: str, options: dict[str, Any]) -> None:
    config = find_plugin(name).config
    works = {option: value for option, value in options.items() if option not in config.elsewhere}
    [entry] = [entry for entry in plan([InterceptorSpec(name=name, config=works)]) if entry.name == name]
    assert set(works) - set(config.unneeded) <= set(entry.options)
    assert [note.partition(" ")[0].strip("'") for note in entry.notes] == [
        option for option in config.unneeded if option in options
    ]


@pytest.mark.parametrize(("option", "way"), find_plugin("endpoint").config.elsewhere.items())
def test_what_is_elsewhere_is_an_error_with_the_way_out(option: str, way: str) -> None:
    with pytest.raises(ConfigError, match=f"interceptor 'endpoint': option '{option}' is not here: ") as raised:
        plan([InterceptorSpec(name="endpoint", config={option: "x"})])
    assert way in str(raised.value)


def test_what_means_nothing_is_no_part_of_the_pipeline() -> None:
    specs = [InterceptorSpec(name="caching", config={"log_level": "INFO"})]
    [entry] = [entry for entry in plan(specs) if entry.name == "caching"]
    assert entry.notes == (
        "'log_level' of 'caching' does nothing here: the setting log_level says what goes to the console",
    )
    assert "log_level" not in entry.options


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("response_stats", {"every": 1, "logging_aggregated_stats_interval": 2}, "keep one of them"),
        ("progress_tracking", {"webhook_url": "http://x/", "progress_tracking_url": "http://x/"}, "keep one of them"),
        ("progress_tracking", {"webhook_url": "http://x/", "request_method": "PUT"}, "keep one of them"),
        ("progress_tracking", {"every": 1, "progress_tracking_interval": 2}, "keep one of them"),
    ],
)
def test_two_names_of_one_thing_are_an_error(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan([InterceptorSpec(name=name, config=options)])


@pytest.mark.parametrize(("limit", "implied"), [(None, False), (0, False), (1, True)])
def test_no_concurrency_is_no_limit(limit: int | None, implied: bool) -> None:
    entries = plan([InterceptorSpec(name="endpoint", config={"max_concurrent": limit})])
    assert ("limit" in [entry.name for entry in entries]) == implied
