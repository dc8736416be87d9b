import pytest

from harness.api import EndpointType
from harness.errors import ConfigurationError
from harness.tasks.needs import NEEDS, lacks

CHAT, COMPLETIONS = EndpointType.CHAT, EndpointType.COMPLETIONS


def profile(**verdicts: str) -> dict:
    return {"capabilities": {name.replace("__", "."): {"verdict": value} for name, value in verdicts.items()}}


def found(needs, kinds, **verdicts):
    return [(lack.need, lack.verdict) for lack in lacks("t", needs, kinds, profile(**verdicts))]


@pytest.mark.parametrize("verdict", ["ignored", "rejected", "wrong"])
def test_a_capability_that_is_not_there_is_a_lack(verdict):
    assert found(["tools"], [CHAT], chat__tools=verdict) == [("tools", verdict)]


def test_what_is_supported_or_unknown_is_none():
    assert found(["tools"], [CHAT], chat__tools="supported") == []
    assert found(["tools"], [CHAT], chat__tools="unknown") == []
    assert found(["tools"], [CHAT]) == []


def test_the_endpoint_type_itself_is_a_need():
    assert found([], [CHAT], chat__works="rejected") == [("chat", "rejected")]


def test_one_type_that_works_is_enough():
    verdicts = {"chat__works": "rejected", "chat__logprobs": "rejected", "completions__logprobs": "supported"}
    assert found(["logprobs"], [CHAT, COMPLETIONS], **verdicts) == []
    assert found(["logprobs"], [CHAT], **verdicts) == [("chat", "rejected"), ("logprobs", "rejected")]


def test_a_need_of_the_run_is_no_matter_of_the_endpoint():
    assert [name for name, need in NEEDS.items() if need.capability is None] == ["judge", "code_execution"]
    assert found(["judge", "code_execution"], [CHAT]) == []


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "no capability profile: it has no 'capabilities'"),
        ({"capabilities": []}, "no capability profile"),
        (profile(chat__works="maybe"), "capabilities.chat.works of the profile has the verdict 'maybe'"),
        ({"capabilities": {"chat.works": "supported"}}, "capabilities.chat.works of the profile has the verdict None"),
    ],
)
def test_what_is_no_profile_is_refused(document, message):
    with pytest.raises(ConfigurationError, match=message):
        lacks("t", [], [CHAT], document)
