import json
from typing import ClassVar

import pytest
import yaml

from harness.api import EndpointType
from harness.errors import ConfigurationError, JudgeError
from harness.tasks import find_task, local_tasks
from harness.tasks.base import JudgedTask
from harness.tasks.jsonl import JudgedJsonlTask, load_task

ROWS = [
    {"question": "2+2?", "target": "4", "kind": "sums"},
    {"question": "3+3?", "target": "6", "kind": "sums"},
    {"question": "A capital?", "target": ["Paris", "Oslo"], "kind": "towns"},
]


@pytest.fixture
def make(lines, tmp_path):
    """Makes a benchmark of these rows; the arguments are what the YAML file says beside `data` and `prompt`."""

    def write(rows=ROWS, **config):
        lines(tmp_path / "rows.jsonl", rows)
        document = {"data": "rows.jsonl", "prompt": "Q: {{ question }}", **config}
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in document.items() if value is not None}))
        return load_task(path, {})

    return write


def scores(task, *texts):
    return [task.grade(sample, text).score for sample, text in zip(task.samples(), texts, strict=False)]


def test_the_least_that_a_file_must_say(make, tmp_path):
    task = make()
    first, _, third = task.samples()
    assert (task.name, task.score_name, task.repeats) == ("mine", "exact", 1)
    assert task.endpoint_types == {EndpointType.CHAT, EndpointType.COMPLETIONS}
    assert (first.id, first.query, first.accepted, first.group) == ("mine-00000", "Q: 2+2?", ("4",), "")
    assert third.accepted == ("Paris", "Oslo")
    assert task.request(first, EndpointType.CHAT) == {
        "messages": [{"role": "user", "content": "Q: 2+2?"}], "max_tokens": 1024, "temperature": 0.0,
    }  # fmt: skip
    assert task.request(first, EndpointType.COMPLETIONS)["prompt"] == "Q: 2+2?"
    assert [(facts.origin, facts.rows) for facts in task.data()] == [(str(tmp_path / "rows.jsonl"), 3)]
    assert scores(task, " 4 ", "5", "oslo") == [1, 0, 1]


def test_names_ids_groups_and_generation(make):
    generation = {"max_tokens": 5, "temperature": None, "top_p": 0.9, "stop": ["\n"], "seed": 1, "extra": {"top_k": 3}}
    rows = [{"n": n, "question": "q", "target": "t", "kind": "k"} for n in (7, 8)]
    task = make(rows, name="other", id="n", group="kind", description="d", generation=generation)
    assert (task.name, task.description) == ("other", "d")
    assert [(sample.id, sample.group) for sample in task.samples()] == [("7", "k"), ("8", "k")]
    body = task.request(task.samples()[0], EndpointType.CHAT)
    assert {name: value for name, value in body.items() if name != "messages"} == {
        "max_tokens": 5, "top_p": 0.9, "stop": ["\n"], "seed": 1, "top_k": 3,
    }  # fmt: skip


def test_system_and_examples_of_its_own_rows(make):
    task = make(system="Be {{ kind }}.", few_shot={"count": 1, "answer": "It is {{ target }}."})
    first, second, third = task.samples()
    assert task.request(second, EndpointType.CHAT)["messages"] == [
        {"role": "system", "content": "Be sums."},
        {"role": "user", "content": "Q: 2+2?"},
        {"role": "assistant", "content": "It is 4."},
        {"role": "user", "content": "Q: 3+3?"},
    ]
    assert task.request(first, EndpointType.COMPLETIONS)["prompt"] == "Be sums.\n\nQ: 3+3? It is 6.\n\nQ: 2+2?"
    assert task.request(third, EndpointType.CHAT)["messages"][2]["content"] == "It is 4."


def test_examples_of_another_file_drawn_with_a_seed(make, lines, tmp_path):
    lines(tmp_path / "more.jsonl", [{"question": f"e{n}", "target": str(n)} for n in range(9)])
    task = make(few_shot={"count": 3, "data": "more.jsonl", "seed": 1})
    shown = [[turn["content"] for turn in sample.fields["turns"][::2][:-1]] for sample in task.samples()]
    assert shown == [[turn["content"] for turn in sample.fields["turns"][::2][:-1]] for sample in task.samples()]
    assert len({tuple(each) for each in shown}) > 1
    assert [facts.origin for facts in task.data()] == [str(tmp_path / "rows.jsonl"), str(tmp_path / "more.jsonl")]


def test_messages_are_for_chat_and_examples_go_before_the_question(make):
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "{{ question }}"}]
    task = make(prompt=None, messages=messages, few_shot={"count": 1})
    assert task.endpoint_types == {EndpointType.CHAT}
    roles = [turn["role"] for turn in task.request(task.samples()[0], EndpointType.CHAT)["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


def test_an_answer_that_cannot_be_read_is_counted(make):
    task = make(grading={"extract": r"answer: (\w+)"})
    first = task.samples()[0]
    assert task.grade(first, "answer: 4").unparsed == ()
    grade = task.grade(first, "it is 4")
    assert (grade.answer, grade.score, grade.unparsed) == ("", 0.0, ("exact",))


def test_repeats_and_pass_at_k(make):
    task = make(repeats=4, pass_at=[1, 2], generation={"temperature": 0.7})
    assert (task.repeats, task.pass_at) == (4, (1, 2))


class TestJudge:
    GRADING: ClassVar = {
        "type": "llm_judge",
        "system": "You grade.",
        "prompt": "{{ question }} Right: {{ target }}. Said: {{ answer }}. Kind: {{ kind }}",
    }

    async def verdict(self, make, said, **grading):
        task = make(grading={**self.GRADING, **grading})
        assert isinstance(task, JudgedJsonlTask)
        assert isinstance(task, JudgedTask)
        asked = []

        async def ask(messages):
            asked.append(messages)
            return said

        return await task.judge(task.samples()[0], "4!", ask), asked

    async def test_the_judge_sees_question_target_answer_and_row(self, make):
        grade, asked = await self.verdict(make, "Well.\nCORRECT")
        assert (grade.answer, grade.score, grade.unparsed) == ("CORRECT", 1.0, ())
        content = "Q: 2+2? Right: 4. Said: 4!. Kind: sums"
        assert asked == [[{"role": "system", "content": "You grade."}, {"role": "user", "content": content}]]

    @pytest.mark.parametrize(
        ("said", "score"), [("INCORRECT", 0.0), ("CORRECT? No: incorrect", 0.0), ("not INCORRECT, but correct", 1.0)]
    )
    async def test_the_last_verdict_counts(self, make, said, score):
        grade, _ = await self.verdict(make, said)
        assert (grade.score, grade.unparsed) == (score, ())

    async def test_verdicts_of_ones_own(self, make):
        grading = {"verdict": r"\[\[(\w+)\]\]", "scores": {"good": 1, "fair": 0.5, "bad": 0}}
        assert (await self.verdict(make, "[[fair]]", **grading))[0].score == 0.5
        unknown, _ = await self.verdict(make, "[[great]]", **grading)
        assert (unknown.score, unknown.unparsed) == (0.0, ("llm_judge",))

    async def test_a_judge_that_says_nothing_of_use_is_counted(self, make):
        grade, _ = await self.verdict(make, "I cannot say.")
        assert (grade.answer, grade.score, grade.unparsed) == ("", 0.0, ("llm_judge",))

    async def test_a_judge_that_fails_is_no_verdict(self, make):
        task = make(grading=self.GRADING)

        async def ask(_):
            raise JudgeError("HTTP 500")

        with pytest.raises(JudgeError, match="HTTP 500"):
            await task.judge(task.samples()[0], "4", ask)

    def test_a_template_that_does_not_fit_the_rows_is_told_before_anything_is_asked(self, make):
        task = make(grading={**self.GRADING, "prompt": "{{ anwser }}"})
        with pytest.raises(ConfigurationError, match=r"rows.jsonl, row 0: the template .*'anwser' is undefined"):
            task.samples()

    def test_an_answer_that_looks_like_a_template_is_text(self, make):
        task = make(grading=self.GRADING)
        sample = task.samples()[0]
        messages = task._judge.messages(sample.fields["row"], sample.query, "4", "{{ kind }}")
        assert "Said: {{ kind }}." in messages[1]["content"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"promt": "x"}, "mine.yaml: unknown field 'promt' of BenchmarkConfig; did you mean 'prompt'"),
        ({"grading": "exakt"}, "grading: unknown grading 'exakt'; did you mean 'exact'"),
        ({"grading": {"type": "numeric", "tolerence": 1}}, "unknown field 'tolerence' .* did you mean 'tolerance'"),
        ({"grading": {"type": "numeric", "tolerance": -1}}, r"tolerance: .*greater than or equal to 0 \(got -1\)"),
        ({"grading": {"type": "regex", "pattern": "("}}, r"pattern: '\(' is no regular expression"),
        ({"grading": {"ignore": ["["]}}, r"ignore: '\[' is no regular expression"),
        ({"prompt": "{{ q"}, "prompt: the template '{{ q' is wrong in line 1"),
        ({"prompt": None}, "either a prompt or messages, but neither is"),
        ({"messages": [{"role": "user", "content": "x"}]}, "either a prompt or messages, but both are there"),
        ({"prompt": None, "messages": [{"role": "assistant", "content": "x"}]}, "last of the messages is the question"),
        ({"prompt": None, "system": "s", "messages": [{"role": "user", "content": "x"}]}, "system goes with prompt"),
        (
            {"prompt": None, "messages": [{"role": "user", "content": "x"}], "endpoint_types": ["completions"]},
            "endpoint_types has 'completions'; this benchmark can be asked by chat",
        ),
        ({"endpoint_types": ["embedding"]}, "endpoint_types has 'embedding'"),
        ({"repeats": 3}, "repeats 3 at temperature 0 asks the same question"),
        ({"pass_at": [2]}, "pass_at 2 needs at least 2 repeats; there are 1"),
        ({"repeats": 0}, "repeats: Input should be greater than or equal to 1"),
        ({"name": "a/b"}, "name 'a/b' may have letters"),
        ({"generation": {"temprature": 1}}, "unknown field 'temprature' .* did you mean 'temperature'"),
    ],
)
def test_mistakes_name_the_file_the_field_and_the_way_out(make, config, message):
    with pytest.raises(ConfigurationError, match=message):
        make(**config)


@pytest.mark.parametrize(
    ("rows", "config", "message"),
    [
        ([{"question": "q"}], {}, r"row 0: the template '{{ target }}' fails: 'target' is undefined; .*question"),
        ([{"question": "q", "target": ""}], {}, "row 0: there is no target, or an empty one"),
        ([{"question": "q", "target": None}], {}, "row 0: there is no target, or an empty one"),
        ([{"question": "q", "target": []}], {}, "row 0: there is no target, or an empty one"),
        (ROWS, {"group": "knd"}, "row 0: there is no column 'knd'; the row has: kind, question, target"),
        (ROWS, {"id": "kind"}, "two rows have the id 'sums'"),
        (ROWS, {"grading": "numeric"}, "row 2: the target 'Paris' is no number"),
        (ROWS, {"grading": "multiple_choice"}, "row 0: the column 'choices' is no list of 2 to 26 options: None"),
        (ROWS, {"few_shot": {"count": 3}}, "^task 'mine': few_shot.count 3 needs 4 rows; there are 3"),
        ([], {}, "rows.jsonl has no rows"),
    ],
)
def test_rows_that_do_not_fit_are_named(make, rows, config, message):
    task = make(rows, **config)
    with pytest.raises(ConfigurationError, match=message):
        task.samples()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read: No such file"), ("a: [", "is not YAML"), ("- a", "holds no mapping")],
)
def test_a_file_that_is_no_benchmark(content, message, tmp_path):
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        load_task(path, {})


def test_options_of_a_run_are_refused(make, tmp_path):
    make()
    with pytest.raises(ConfigurationError, match=r"task 'mine' takes no params.extra, but there is: shots"):
        load_task(tmp_path / "mine.yaml", {"shots": 1})


def test_a_task_is_found_by_path_and_by_name_in_the_folder_tasks(make, tmp_path, monkeypatch):
    make()
    monkeypatch.chdir(tmp_path)
    assert find_task("mine.yaml").name == find_task("./mine.yaml").name == "mine"
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "local.yml").write_text((tmp_path / "mine.yaml").read_text().replace("rows", "../rows"))
    assert len(find_task("local").samples()) == 3
    assert {name: str(path) for name, path in local_tasks().items()} == {"local": "tasks/local.yml"}
    with pytest.raises(ConfigurationError, match="unknown task 'locale'; did you mean 'local'"):
        find_task("locale")


def test_a_target_may_be_put_together(make):
    task = make([{"question": "q", "a": 1, "b": 2}], target="{{ a }}-{{ b }}")
    assert task.samples()[0].accepted == ("1-2",)


def test_rows_of_every_kind_are_json(make):
    task = make([{"question": json.dumps({"x": "{{ y }}"}), "target": "t"}])
    assert task.samples()[0].query == 'Q: {"x": "{{ y }}"}'  # what a row says is text, never a template
