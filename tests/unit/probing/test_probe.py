"""What a probe does before and after its checks; tests/contract/test_probe.py has whole ones."""

import pytest

from proxy.probing.probe import settled, usable
from proxy.probing.subject import Subject
from proxy.wire.profile import Capability, Profile, Verdict
from tests.unit.probing.driving import chat, error, plain

NEWER = error(400, "'max_tokens' is not supported, use 'max_completion_tokens'")


def settle(*answers):
    steps = settled(Subject("chat", "m"))
    next(steps)
    for answer in answers[:-1]:
        steps.send(answer)
    with pytest.raises(StopIteration) as caught:
        steps.send(answers[-1])
    found = caught.value.value
    return found.limit, found.takes_temperature


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([chat("x"), chat("x")], ("max_tokens", True)),
        ([error(404), error(404)], ("max_tokens", True)),
        ([NEWER, chat("x"), chat("x")], ("max_completion_tokens", True)),
        ([NEWER, chat("x"), error(400, "'temperature' has to be 1")], ("max_completion_tokens", False)),
        ([NEWER, plain({"detail": "max_completion_tokens is unknown too"}, 422)], ("max_tokens", True)),
    ],
)
def test_the_limits_name_and_the_temperature_are_found_out(answers, expected):
    assert settle(*answers) == expected


def profile(**verdicts):
    found = {name.replace("__", "."): Capability(Verdict(verdict), "why") for name, verdict in verdicts.items()}
    return Profile("vllm", "http://h/v1", None, "", "m", None, None, found)


WORKS = {"chat__works": "supported"}


@pytest.mark.parametrize(
    ("verdicts", "reason"),
    [
        (WORKS, ""),
        (WORKS | {"chat__temperature": "ignored", "chat__top_p": "unknown"}, ""),
        (WORKS | {"chat__temperature": "rejected"}, "chat rejects temperature"),
        (WORKS | {"chat__max_tokens": "rejected"}, "chat rejects max_tokens"),
        (WORKS | {"chat__max_tokens": "rejected", "chat__max_completion_tokens": "supported"}, ""),
        ({"chat__works": "rejected", "completions__works": "supported"}, ""),
        ({"chat__works": "rejected"}, "chat does not work (why)"),
        (
            {"chat__works": "unknown", "completions__works": "supported", "completions__top_p": "rejected"},
            "chat does not work (why); completions rejects top_p",
        ),
        ({"embeddings__works": "supported"}, ""),
    ],
)
def test_one_route_with_the_essentials_is_enough(verdicts, reason):
    assert usable(profile(**verdicts)) == reason
