import random
from pathlib import Path

import pytest

from harness.api import EndpointType
from harness.errors import ConfigurationError
from harness.tasks.base import Sample
from harness.tasks.gsm8k import FLEXIBLE, STRICT, Gsm8k
from tests.recorded.model_answers import gsm8k_answer

HUB = Path(__file__).parents[5] / "shared" / "data" / "hub"


@pytest.fixture
def task(hub):
    return Gsm8k({"data_dir": str(hub)})


def graded(text: str, answer: str = "Long ago.\n#### 1,200"):
    return Gsm8k({}).grade(Sample("x", "q", ("1,200",), "", {"answer": answer}), text)


def test_samples_are_the_test_split_in_its_order(task):
    found = task.samples()
    assert [sample.id for sample in found] == [f"gsm8k-{n:04d}" for n in range(6)]
    assert (found[0].query, found[0].accepted) == ("test: how much is 1 times 1000?", ("1,000",))
    assert [(facts.split, facts.rows) for facts in task.data()] == [("test", 6), ("train", 12)]


def test_examples_are_drawn_for_each_question_as_lm_eval_draws_them(task):
    draw = random.Random(1234)
    expected = [draw.sample(range(1, 13), 5) for _ in range(6)]
    found = [[int(row["question"].split()[4]) for row in sample.fields["examples"]] for sample in task.samples()]
    assert found == expected
    assert found == [
        [int(row["question"].split()[4]) for row in sample.fields["examples"]] for sample in task.samples()
    ]


def test_chat_shows_the_examples_as_turns(task):
    sample = task.samples()[0]
    body = task.request(sample, EndpointType.CHAT)
    messages = body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 5 + ["user"]
    assert messages[-1]["content"] == "Question: test: how much is 1 times 1000?\nAnswer:"
    assert messages[1]["content"] == sample.fields["examples"][0]["answer"]
    assert (body["temperature"], body["max_tokens"], body["stop"]) == (0, 1024, ["Question:", "</s>", "<|im_end|>"])


def test_completions_get_one_text(task):
    sample = task.samples()[0]
    prompt = task.request(sample, EndpointType.COMPLETIONS)["prompt"]
    first = sample.fields["examples"][0]
    assert prompt.startswith(f"Question: {first['question']}\nAnswer: {first['answer']}\n\nQuestion: train")
    assert prompt.endswith("\n\nQuestion: test: how much is 1 times 1000?\nAnswer:")


def test_without_examples_the_training_split_is_not_needed(hub):
    (hub / "openai" / "gsm8k" / "train.jsonl").unlink()
    task = Gsm8k({"data_dir": str(hub), "num_fewshot": 0})
    assert task.request(task.samples()[0], EndpointType.COMPLETIONS)["prompt"].count("Question:") == 1
    assert [facts.split for facts in task.data()] == ["test"]


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        ("so\n#### 1200", 1, 1),
        ("so\n#### 1,200.", 1, 1),
        ("so\n#### $1200", None, 1),
        ("it is $1,200", None, 1),
        ("it is 1,200. Or 5", None, 0),
        ("#### 1200.00", 0, 0),
        ("#### 7\n#### 1200", 0, 1),
        ("none", None, None),
        ("", None, None),
    ],
)
def test_both_extractions_and_what_they_could_not_read(text, strict, flexible):
    grade = graded(text)
    assert (grade.score, grade.scores[FLEXIBLE]) == (strict or 0, flexible or 0)
    assert grade.unparsed == tuple(name for name, said in ((STRICT, strict), (FLEXIBLE, flexible)) if said is None)


def test_the_answer_read_is_the_strict_one_if_there_is_one():
    assert graded("#### 5\n7").answer == "5"
    assert graded("it is 7").answer == "7"
    assert graded("none").answer == ""


def test_recorded_answers_are_of_every_kind():
    grades = [graded(gsm8k_answer(number, "1,200")) for number in range(200)]
    assert {grade.score for grade in grades} == {grade.scores[FLEXIBLE] for grade in grades} == {0.0, 1.0}
    assert {grade.unparsed for grade in grades} == {(), (STRICT,), (STRICT, FLEXIBLE)}


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            {"num_fewshots": 3},
            "params.extra of task 'gsm8k': unknown field 'num_fewshots' .* did you mean 'num_fewshot'",
        ),
        ({"num_fewshot": -1}, r"num_fewshot: Input should be greater than or equal to 0 \(got -1\)"),
    ],
)
def test_wrong_options_are_named(extra, message):
    with pytest.raises(ConfigurationError, match=message):
        Gsm8k(extra)


def test_more_examples_than_rows_is_an_error_that_says_so(hub):
    with pytest.raises(ConfigurationError, match=r"train.jsonl has 12 rows, fewer than num_fewshot 13"):
        Gsm8k({"data_dir": str(hub), "num_fewshot": 13}).samples()


@pytest.mark.skipif(not HUB.exists(), reason="needs GSM8K beside the repository, in ../shared/data/hub")
def test_the_published_data_are_recognized():
    task = Gsm8k({"data_dir": str(HUB)})
    assert len(task.samples()) == 1319
    assert [(facts.rows, facts.revision) for facts in task.data()] == [
        (1319, "openai/grade-school-math@3101c7d"),
        (7473, "openai/grade-school-math@3101c7d"),
    ]
    assert all(task.grade(sample, sample.fields["answer"]).score == 1 for sample in task.samples())
