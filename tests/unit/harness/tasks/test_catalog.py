import json
import re

import pytest

from harness.api import EndpointType
from harness.errors import ConfigurationError
from harness.external.drivers import DRIVERS
from harness.tasks import NAMES
from harness.tasks.catalog import NATIVE, catalog, harnesses, missing, resolve
from harness.tasks.needs import NEEDS


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def local(tmp_path):
    """Puts a benchmark into the folder `tasks`."""

    def write(name, text="data: rows.jsonl\nprompt: '{{ q }}'\nlicense: CC0-1.0\n"):
        (tmp_path / "tasks").mkdir(exist_ok=True)
        (tmp_path / "tasks" / f"{name}.yaml").write_text(text)

    return write


def test_every_entry_is_complete_and_its_own():
    entries = catalog()
    assert len({entry.qualified for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.endpoint_types
        assert all((entry.name, entry.task, entry.dataset, entry.license))
        assert set(entry.needs) <= set(NEEDS)
        assert json.dumps(entry.row())
        assert (entry.package == "") == (entry.harness == NATIVE)
    assert {entry.harness for entry in entries} | {"command"} == set(harnesses()) == {NATIVE, *DRIVERS}
    assert [entry.name for entry in entries if entry.harness == NATIVE] == sorted(NAMES)


def test_what_scores_the_prompts_tokens_is_for_completions_only():
    for entry in catalog():
        if "echo_logprobs" in entry.needs:
            assert entry.endpoint_types == (EndpointType.COMPLETIONS,)
        if {"tools", "images", "audio", "json_schema"} & set(entry.needs):
            assert entry.endpoint_types == (EndpointType.CHAT,)


def test_a_native_task_tells_of_itself():
    [entry] = [entry for entry in catalog() if entry.qualified == "native.mmlu_pro_math"]
    assert (entry.dataset, entry.license, entry.needs) == ("TIGER-Lab/MMLU-Pro", "Apache-2.0", ())
    assert entry.endpoint_types == (EndpointType.CHAT, EndpointType.COMPLETIONS)


def test_files_are_listed_and_those_that_are_wrong_with_the_reason(local):
    local("good")
    local("judged", "data: r.jsonl\nprompt: p\ngrading: {type: llm_judge, prompt: p}\n")
    local("bad", "data: r.jsonl\npromt: p\n")
    found = {entry.name: entry for entry in catalog() if entry.task.startswith("tasks")}
    assert set(found) == {"good", "judged", "bad"}
    assert (found["good"].license, found["good"].dataset) == ("CC0-1.0", "tasks/rows.jsonl")
    assert found["judged"].needs == ("judge",)
    assert found["bad"].description.startswith("cannot be run: the task file tasks/bad.yaml: unknown field 'promt'")


@pytest.mark.parametrize(
    ("name", "qualified", "said"),
    [
        ("gsm8k", "native.gsm8k", "the native task; .*lm-eval.gsm8k.* are another harness's"),
        ("mmlu_pro_law", "native.mmlu_pro_law", "mmlu_pro_law: the native task$"),
        ("native.gsm8k", "native.gsm8k", "native.gsm8k: the native task"),
        ("lm-eval.mmlu_pro", "lm-eval.mmlu_pro", "lm-eval.mmlu_pro: mmlu_pro of lm-eval"),
        ("inspect-ai.gsm8k", "inspect-ai.gsm8k", "inspect_evals/gsm8k of inspect-ai"),
        ("arc_challenge_x", None, "unknown task 'arc_challenge_x'; did you mean 'arc_challenge'.*evalside ls tasks"),
        ("lambada_openai", "lm-eval.lambada_openai", "lm-eval.lambada_openai, as no native task is called so"),
        ("humaneval", None, "'humaneval' is there 4 times; say which: evalscope.humaneval, inspect-ai.humaneval, lm-e"),
        ("native.nothing", None, "unknown native task 'nothing'"),
        ("lm-evl.gsm8k", None, "unknown task 'lm-evl.gsm8k'; did you mean 'lm-eval.gsm8k'"),
    ],
)
def test_names_are_resolved_and_the_choice_is_told(name, qualified, said):
    if qualified is None:
        with pytest.raises(ConfigurationError, match=said):
            resolve(name)
        return
    choice = resolve(name)
    assert choice.entry.qualified == qualified
    assert choice.listed
    assert re.search(said, choice.said)


def test_what_only_a_harness_knows_is_asked_of_it():
    choice = resolve("lm-eval.cmmlu")
    assert (choice.listed, choice.entry.task, choice.entry.package) == (False, "cmmlu", "lm-eval[api]")
    assert "not in the catalogue" in choice.said
    for name in ("inspect-ai.tasks/sums.py@sums", "command.mine", "command.of/mine.yaml"):
        assert resolve(name).entry.qualified == name


def test_a_file_is_found_by_name_and_by_path(local):
    local("mine")
    local("gsm8k")
    assert resolve("mine").entry.task == "tasks/mine.yaml"
    assert resolve("native.mine").entry.name == "mine"
    assert resolve("gsm8k").entry.dataset == "openai/gsm8k"  # native wins
    assert resolve("tasks/gsm8k.yaml").entry.license == "CC0-1.0"
    assert resolve("tasks/gsm8k.yaml").said == "tasks/gsm8k.yaml: the benchmark 'gsm8k' in that file"


def test_a_file_named_like_another_harness_task_wins_and_the_other_is_told(local):
    local("lambada_openai")
    choice = resolve("lambada_openai")
    assert choice.entry.task == "tasks/lambada_openai.yaml"
    assert choice.said.endswith("lm-eval.lambada_openai is another harness's")


def test_what_an_endpoint_lacks_is_told_with_the_reason():
    profile = {"capabilities": {"completions.echo_logprobs": {"verdict": "ignored", "evidence": "no prompt tokens"}}}
    [lack] = missing(resolve("lm-eval.mmlu").entry, profile)
    assert (lack.need, lack.capability, lack.verdict) == ("echo_logprobs", "completions.echo_logprobs", "ignored")
    assert lack.reason == (
        "lm-eval.mmlu needs the log probabilities of the prompt's own tokens, "
        "but completions.echo_logprobs is ignored: no prompt tokens"
    )
    assert missing(resolve("gsm8k").entry, profile) == []
