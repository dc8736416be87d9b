import re

import pytest

from proxy.commands.probe_report import show
from proxy.probing.table import CHECKS
from proxy.wire.profile import Capability, Profile, Verdict


def profile(**verdicts: str) -> Profile:
    found = {
        name.replace("__", "."): Capability(Verdict(verdict), "the evidence", CHECKS[name.replace("__", ".")].needed_by)
        for name, verdict in verdicts.items()
    }
    return Profile("vllm", "http://h/v1", None, "", "m", 2048, None, found)


@pytest.fixture
def shown(capsys):
    def print_it(found: Profile) -> str:
        show(found)
        return re.sub(r" {2,}", "  ", capsys.readouterr().out)

    return print_it


def test_the_server_comes_first(shown):
    assert shown(profile()).startswith("http://h/v1: vllm, m, 2,048 tokens of context\n")
    bare = Profile("unknown", "http://h/v1", None, "", None, None, "reasoning")
    assert shown(bare).startswith(
        "http://h/v1: unknown, no model named, context length unknown, reasoning in reasoning\n"
    )


def test_each_capability_has_a_line_with_what_to_do(shown):
    told = shown(profile(chat__works="supported", chat__tools="rejected", completions__echo="ignored"))
    assert "works  supported  the evidence" in told
    assert "tools  rejected  describe the tools in the prompt (needed by tools): the evidence" in told
    assert (
        "echo  ignored  take generative variants of multiple choice tasks (needed by loglikelihood): the evidence"
        in told
    )
    assert told.index("chat  verdict") < told.index("completions  verdict")
    assert "embeddings  verdict" not in told
    assert told.endswith("1 supported, 1 ignored, 1 rejected\n")


def test_what_is_fine_needs_nothing(shown):
    told = shown(profile(chat__unknown_model="rejected", chat__unknown_parameter="ignored", chat__tools="unknown"))
    assert "needed by" not in told


def test_tasks_say_by_which_route_or_why_not(shown):
    told = shown(profile(chat__works="supported", chat__tools="ignored", completions__works="rejected"))
    assert "generation  chat  completions: works" in told
    assert "tools  no  chat: tools" in told
    assert "loglikelihood  no  completions: works" in told
    assert "embeddings" not in told


def test_what_a_server_says_is_no_markup_and_no_control_code(shown):
    found = profile(chat__works="supported")
    found.capabilities["chat.works"] = Capability(Verdict.SUPPORTED, "[red]x[/red] \x1b[31m")  # type: ignore[index]
    assert r"[red]x[/red] \x1b[31m" in shown(found)
