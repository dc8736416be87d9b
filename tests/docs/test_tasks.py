"""The tasks are as the reference lists them, and the benchmarks of the guide run."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from harness.api import EndpointType
from harness.asked import Asked
from harness.results import evaluation_result
from harness.runner import run_task
from harness.tasks import NAMES, TASKS, find_task, gsm8k, jsonl_config, mmlu_pro
from harness.tasks.catalog import catalog
from harness.tasks.gsm8k import Gsm8kOptions
from harness.tasks.mmlu_pro import MmluProOptions
from harness.tasks.needs import NEEDS
from proxy.testing import ModelServer, Reply
from tests.docs.markdown import DOCS, code, codes, fences, section, tables
from tests.docs.test_reference import shown_default

PAGE = DOCS / "reference" / "tasks.md"
GUIDE = DOCS / "howto" / "your-own-benchmark.md"
GRADINGS = ("exact", "numeric", "regex", "multiple_choice", "llm_judge")
CONFIGS = {
    "exact": jsonl_config.ExactConfig,
    "numeric": jsonl_config.NumericConfig,
    "regex": jsonl_config.RegexConfig,
    "multiple_choice": jsonl_config.MultipleChoiceConfig,
    "llm_judge": jsonl_config.JudgeConfig,
}


def rows_of(heading: str) -> list[dict[str, str]]:
    return next(tables(section(PAGE, heading)))


def test_every_task_is_listed_with_its_main_score():
    rows = next(tables(PAGE.read_text()))
    assert {code(row["task"]): code(row["main score"]) for row in rows} == {
        name: task.score_name for name, task in TASKS.items()
    }
    assert {code(row["task"]): codes(row["further scores"]) for row in rows} == {
        "gsm8k": [gsm8k.FLEXIBLE], "mmlu_pro": [mmlu_pro.FLEXIBLE], "smoke": [],
    }  # fmt: skip


def test_the_data_are_the_pinned_ones():
    rows = rows_of("## Data")
    sets = {"gsm8k": gsm8k.DATA, "mmlu_pro": mmlu_pro.DATA}
    assert {code(row["task"]): (code(row["on the hub"]), code(row["revision"])) for row in rows} == {
        name: (data.name, data.revision) for name, data in sets.items()
    }
    assert all(code(row["in the folder"]).startswith(sets[code(row["task"])].name) for row in rows)


@pytest.mark.parametrize(
    ("heading", "model"),
    [("## gsm8k", Gsm8kOptions), ("## mmlu_pro", MmluProOptions)],
)
def test_every_option_has_its_default(heading, model):
    assert {code(row["option"]): row["default"] for row in rows_of(heading)} == {
        name: shown_default(model, name) for name in model.model_fields
    }


def test_every_field_of_a_benchmark_has_its_default():
    model = jsonl_config.BenchmarkConfig
    expected = {name: shown_default(model, name) for name in model.model_fields}
    expected |= {"generation": "below", "grading": "`exact`"}
    assert {code(row["field"]): row["default"] for row in rows_of("## Your own")} == expected


@pytest.mark.parametrize(
    ("name", "model"),
    [("few_shot", jsonl_config.FewShotConfig), ("generation", jsonl_config.GenerationConfig), *CONFIGS.items()],
)
def test_every_field_of_its_parts_has_its_default(name, model):
    expected = {field: shown_default(model, field) for field in model.model_fields if field != "type"}
    assert {code(row["field"]): row["default"] for row in rows_of(f"### {name}")} == expected


def test_every_grading_is_described():
    headings = re.findall(r"^### (.+)$", section(PAGE, "## Your own"), re.MULTILINE)
    assert headings == ["few_shot", "generation", *GRADINGS]


@pytest.fixture
def guide(tmp_path, monkeypatch) -> Path:
    """The files of the guide, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks").mkdir()
    for fence in fences("json", "yaml", "csv"):
        if fence.path == GUIDE:
            (tmp_path / fence.mark.removeprefix("task ")).write_text(fence.text)
    return tmp_path


ANSWERS = {"capitals": "Paris.", "sums": "\\boxed{86,400}", "letters": "B", "guesses": "Answer: La Paz"}


@pytest.mark.parametrize(
    ("name", "score"), [("capitals", 1 / 3), ("sums", 1 / 2), ("letters", 1 / 2), ("guesses", 1 / 3)]
)
def test_the_benchmarks_of_the_guide_run(guide, name, score):
    message = {"role": "assistant", "content": ANSWERS[name]}
    task = find_task(name)
    with ModelServer() as server:
        server.on("/v1/chat/completions", Reply(json={"choices": [{"index": 0, "message": message}]}))
        records, _ = asyncio.run(run_task(task, Asked(server.url, EndpointType.CHAT)))
    metrics = evaluation_result(task, records).tasks[name].metrics
    assert metrics[task.score_name].scores[task.score_name].value == pytest.approx(score)
    assert len(records) == len(task.samples()) * task.repeats
    assert find_task(f"tasks/{name}.yaml").name == name


def test_the_guide_keeps_its_word_of_ten_lines(guide):
    lines = (guide / "tasks" / "sums.yaml").read_text().splitlines()
    assert len(lines) <= 10
    assert set(ANSWERS) == {path.stem for path in (guide / "tasks").glob("*.yaml")}
    assert not set(ANSWERS) & set(NAMES)


def test_the_example_rows_are_as_many_objects_as_lines(guide):
    for path in (guide / "tasks").glob("*.jsonl"):
        assert all(isinstance(json.loads(line), dict) for line in path.read_text().splitlines())


def test_the_table_of_the_scores_names_real_tests():
    assert all(
        (DOCS.parent / name).is_file()
        for name in codes(section(PAGE, "## The same scores as lm-eval"))
        if name.startswith("tests/")
    )


def test_the_fields_of_the_guide_are_in_the_reference():
    known = {code(row["field"]) for found in tables(section(PAGE, "## Your own")) for row in found}
    for fence in fences("yaml"):
        if fence.path == GUIDE:
            assert set(re.findall(r"^(\w+):", fence.text, re.MULTILINE)) <= known


def test_every_harness_of_the_catalogue_is_listed():
    packages = {entry.harness: entry.package for entry in catalog() if entry.package}
    assert {code(row["harness"]): code(row["installed from"]) for row in rows_of("## Catalogue")} == packages


def test_every_need_is_listed():
    expected = {
        name: (need.what, f"`{need.capability}`" if need.capability else "none: a matter of the run")
        for name, need in NEEDS.items()
    }
    assert {code(row["need"]): (row["what"], row["capability"]) for row in rows_of("### Needs")} == expected
