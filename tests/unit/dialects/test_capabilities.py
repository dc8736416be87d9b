import re
from dataclasses import replace

import pytest

from proxy.dialects.capabilities import _LIMITS, _PARAMETERS, ProfileError, load_profile, outranked
from proxy.dialects.loading import shipped
from proxy.wire.parameters import Rules
from proxy.wire.profile import Capability, Profile, Verdict, write_profile
from tests.docs.markdown import DOCS

PROFILE = Profile("vllm", "http://x/v1", None, "2026-01-01T00:00:00Z", "m", 2048, None)


def test_a_profile_is_read_from_its_file(tmp_path):
    path = tmp_path / "profile.json"
    profile = replace(PROFILE, capabilities={"chat.seed": Capability(Verdict.REJECTED)})
    path.write_bytes(write_profile(profile))

    assert load_profile(path) == profile


@pytest.mark.parametrize(("text", "message"), [(None, "cannot be read"), ("{}", "field 'format'")])
def test_a_file_that_is_none_is_named(tmp_path, text, message):
    path = tmp_path / "profile.json"
    if text is not None:
        path.write_text(text)

    with pytest.raises(ProfileError, match=rf"profile\.json: .*{message}"):
        load_profile(path)


def test_what_was_rejected_is_not_taken():
    rules = outranked(Rules(), "chat", {"chat.top_k": "rejected", "chat.json_schema": "rejected"})

    assert rules.unsupported == {"top_k", "response_format"}


def test_what_was_seen_to_work_is_taken_whatever_the_dialect_says():
    rules = shipped("llama.cpp").rules("completions")

    assert outranked(rules, "completions", {"completions.echo_logprobs": "supported"}).unsupported == frozenset()


@pytest.mark.parametrize(
    ("capabilities", "parameter"),
    [(("json_object", "json_schema"), "response_format"), (("echo", "echo_logprobs"), "echo")],
)
def test_what_works_in_one_way_is_taken_though_it_does_not_in_another(capabilities, parameter):
    works, rejected = capabilities

    found = outranked(
        Rules(), "completions", {f"completions.{works}": "supported", f"completions.{rejected}": "rejected"}
    )

    assert not found.lacks(parameter)


def test_every_name_is_one_that_the_probe_has_or_a_parameter_of_its_own():
    checks = set(re.findall(r"^\| `(\w+)` \|", (DOCS / "reference" / "probe.md").read_text(), re.MULTILINE))

    assert {name for name, parameter in _PARAMETERS.items() if name != parameter} <= checks
    assert set(_LIMITS) <= checks


def test_a_closed_list_follows():
    rules = Rules(accepts=frozenset({"seed"}))

    found = outranked(rules, "chat", {"chat.seed": "rejected", "chat.top_k": "supported"})

    assert found.accepts == frozenset({"top_k"})


@pytest.mark.parametrize("verdict", ["ignored", "wrong", "unknown"])
def test_other_verdicts_leave_it_to_the_dialect(verdict):
    assert outranked(Rules(), "chat", {"chat.seed": verdict}) == Rules()
    assert outranked(Rules(unsupported=frozenset({"seed"})), "chat", {"chat.seed": verdict}).lacks("seed")


@pytest.mark.parametrize(
    ("verdict", "before", "after"),
    [
        ("ignored", False, True), ("rejected", False, True), ("supported", True, False), ("wrong", True, False),
        ("unknown", True, True), ("unknown", False, False),
    ],
)  # fmt: skip
def test_choices_are_asked_for_one_by_one_where_n_was_seen_not_to_work(verdict, before, after):
    assert outranked(Rules(fan_out=before), "chat", {"chat.n": verdict}).fan_out is after


def test_a_limit_that_was_rejected_has_its_other_name():
    verdicts = {"chat.max_completion_tokens": "rejected", "chat.max_tokens": "supported"}

    found = outranked(shipped("vllm").rules("chat"), "chat", verdicts)

    assert found.rename == {"max_completion_tokens": "max_tokens", "max_new_tokens": "max_tokens"}


def test_the_other_way_round_too():
    verdicts = {"chat.max_tokens": "rejected", "chat.max_completion_tokens": "supported"}

    found = outranked(shipped("tgi").rules("chat"), "chat", verdicts)

    assert found.rename == {"max_tokens": "max_completion_tokens", "max_new_tokens": "max_completion_tokens"}


def test_with_both_rejected_none_is_renamed():
    verdicts = {"chat.max_tokens": "rejected", "chat.max_completion_tokens": "rejected"}

    assert outranked(Rules(), "chat", verdicts).rename == {}


def test_other_routes_and_what_is_no_parameter_do_not_count():
    verdicts = {"completions.seed": "rejected", "chat.streaming": "rejected", "chat": "rejected"}

    assert outranked(Rules(), "chat", verdicts) == Rules()


def test_what_a_request_is_nothing_without_stays():
    assert outranked(Rules(), "chat", {"chat.tools": "rejected"}).unsupported == frozenset()
