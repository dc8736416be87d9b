from pathlib import Path

import pytest

from harness.api import EndpointType
from harness.errors import ConfigurationError
from harness.tasks import NAMES, find_task
from harness.tasks.base import Sample
from harness.tasks.limit import limited
from harness.tasks.mmlu_pro import CUSTOM, FLEXIBLE, SUBJECTS, MmluPro
from tests.recorded.model_answers import mmlu_pro_answer

HUB = Path(__file__).parents[5] / "shared" / "data" / "hub"
INSTRUCTION = (
    "The following are multiple choice questions (with answers) about biology. Think step by step and then finish "
    'your answer with "the answer is (X)" where X is the correct letter choice.\n'
)
RIGHT = Sample("x", "q", ("B",), "law")


@pytest.fixture
def task(hub):
    return MmluPro({"data_dir": str(hub)})


def test_all_subjects_are_one_task_and_each_is_one(task, hub):
    assert {sample.group for sample in task.samples()} == set(SUBJECTS)
    assert len({sample.id for sample in task.samples()}) == 28
    for subject in SUBJECTS:
        one = find_task(f"mmlu_pro_{subject.replace(' ', '_')}", {"data_dir": str(hub)})
        assert [sample.group for sample in one.samples()] == [subject] * 2
        assert one.name in NAMES
    assert [(facts.split, facts.rows) for facts in task.data()] == [("test", 28), ("validation", 70)]


def test_a_limit_of_14_is_one_of_each_subject(task):
    assert {sample.group for sample in limited(task.samples(), 14)} == set(SUBJECTS)


def test_the_authors_prompt_has_the_subjects_examples_without_placeholders(task):
    body = task.request(task.samples()[0], EndpointType.COMPLETIONS)
    shown = (
        "Question:\nvalidation 0 of biology?\nOptions:\nA.  biology 0\nB. no\nC. perhaps\n"
        "Answer: Let's think step by step. So it is. The answer is (A).\n\n"
    )
    asked = (
        "Question:\ntest 0 of biology?\nOptions:\nA.  biology 0\nB. no\nC. perhaps\nAnswer: Let's think step by step."
    )
    assert body["prompt"].startswith(f"{INSTRUCTION}\n\n{shown}Question:\nvalidation 1 of biology?")
    assert body["prompt"].endswith(f"\n\n{asked}")
    assert body["prompt"].count("Question:") == 6
    assert (body["temperature"], body["max_tokens"], body["stop"]) == (0, 2048, ["Question:"])
    chat = task.request(task.samples()[0], EndpointType.CHAT)
    assert chat["messages"] == [{"role": "user", "content": body["prompt"]}]


def test_the_prompt_of_lm_eval_has_turns_and_all_options(hub):
    task = MmluPro({"data_dir": str(hub), "prompt": "lm-eval"})
    messages = task.request(task.samples()[0], EndpointType.CHAT)["messages"]
    assert messages[0] == {"role": "system", "content": INSTRUCTION}
    assert [message["role"] for message in messages[1:]] == ["user", "assistant"] * 5 + ["user"]
    assert messages[1]["content"].endswith(
        "\nA. biology 0\nB. no\nC. perhaps\nD. N/A\nAnswer: Let's think step by step."
    )
    assert messages[2]["content"] == "So it is. The answer is (A)."
    text = task.request(task.samples()[0], EndpointType.COMPLETIONS)["prompt"]
    assert text.startswith(f"{INSTRUCTION}Question:\nvalidation 0")


def test_fewer_examples(hub):
    task = MmluPro({"data_dir": str(hub), "num_fewshot": 0})
    assert task.request(task.samples()[0], EndpointType.COMPLETIONS)["prompt"].count("Question:") == 1


def test_a_subject_without_its_examples_is_an_error(hub):
    path = hub / "TIGER-Lab" / "MMLU-Pro" / "validation.jsonl"
    path.write_text("".join(line for line in path.open() if "validation 4 of law?" not in line))
    with pytest.raises(ConfigurationError, match=r"fewer than 5 examples of the subject 'law'; .*num_fewshot"):
        MmluPro({"data_dir": str(hub)}).samples()


@pytest.mark.parametrize(
    ("text", "custom", "flexible"),
    [
        ("The answer is (B).", "B", "B"),
        ("the answer is B", "B", "B"),
        ("The answer is (A). No, the answer is (B).", "A", "A"),
        ("Answer: B", None, "B"),
        ("I take B, not the city of Avalon.", None, "B"),
        ("The answer is: (B)", None, "B"),
        ("none of them", None, None),
        ("", None, None),
    ],
)
def test_both_extractions_and_what_they_could_not_read(text, custom, flexible):
    grade = MmluPro({}).grade(RIGHT, text)
    assert (grade.score, grade.scores[FLEXIBLE]) == (custom == "B", flexible == "B")
    assert grade.answer == (custom or flexible or "")
    assert grade.unparsed == tuple(name for name, said in ((CUSTOM, custom), (FLEXIBLE, flexible)) if said is None)


def test_recorded_answers_are_of_every_kind():
    options = ["Paris", "Oslo", "Rome", "Bern"]
    grades = [MmluPro({}).grade(RIGHT, mmlu_pro_answer(number, "B", options)) for number in range(200)]
    assert {grade.score for grade in grades} == {grade.scores[FLEXIBLE] for grade in grades} == {0.0, 1.0}
    assert {grade.unparsed for grade in grades} == {(), (CUSTOM,), (CUSTOM, FLEXIBLE)}


def test_wrong_options_are_named():
    with pytest.raises(ConfigurationError, match=r"prompt: Input should be 'authors' or 'lm-eval' .*got 'mine'"):
        MmluPro({"prompt": "mine"})


@pytest.mark.skipif(not HUB.exists(), reason="needs MMLU-Pro beside the repository, in ../shared/data/hub")
def test_the_published_data_are_recognized():
    task = MmluPro({"data_dir": str(HUB)})
    found = task.samples()
    assert len(found) == 12032
    assert [facts.revision for facts in task.data()] == [
        "TIGER-AI-Lab/MMLU-Pro@f418b11",
        "TIGER-AI-Lab/MMLU-Pro@6a02be7",
    ]
    for sample in found[::500]:
        prompt = task.request(sample, EndpointType.COMPLETIONS)["prompt"]
        for row in sample.fields["examples"]:  # the thoughts are as the authors' script puts them
            thought = row["cot_content"].replace("A: Let's think step by step.", "Answer: Let's think step by step.")
            assert f"\n{thought}\n\n" in prompt
