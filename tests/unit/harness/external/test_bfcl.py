"""The forms of bfcl-eval 2026.3.23."""

import pytest

from harness.api import EndpointType
from harness.errors import ConfigurationError
from harness.external import bfcl_entry
from harness.external.base import OutputError
from harness.external.bfcl import ENTRY, Bfcl
from tests.unit.harness.external.asking import make_ask, write


def test_generation_and_checker_get_the_endpoints_model(tmp_path):
    ask = make_ask(tmp_path, "simple_python+parallel", limit_samples=3, temperature=0.0, parallelism=2)
    generate, evaluate = Bfcl().calls(ask)
    common = ("python", str(ENTRY.resolve()), "chat", "org/m", "simple_python+parallel", "3")
    assert generate.argv == (*common, "generate", "--num-threads", "2", "--temperature", "0.0")
    assert evaluate.argv == (*common, "evaluate")
    assert generate.env["BFCL_PROJECT_ROOT"] == str(tmp_path)
    assert ENTRY.is_file()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": EndpointType.COMPLETIONS}, "'completions'"),
        ({"options": {"handler": "x"}}, "it takes chat, responses, prompt"),
        ({"limit_samples": 0.5}, "is a share"),
        ({"top_p": 0.5}, "cannot be told top_p"),
        ({"task": "parallel+memory"}, r"bfcl's 'memory' needs sentence-transformers .* pip install bfcl-eval=="),
        ({"task": "all"}, "in params.extra.python"),
    ],
)
def test_what_it_cannot_do_is_refused(tmp_path, fields, said):
    with pytest.raises(ConfigurationError, match=said):
        Bfcl().calls(make_ask(tmp_path, **({"task": "parallel"} | fields)))


@pytest.mark.parametrize("options", [{"python": "/opt/bfcl/bin/python"}, {"image": "bfcl:1"}])
def test_an_environment_of_the_users_may_have_a_vector_store(tmp_path, options):
    assert Bfcl().calls(make_ask(tmp_path, "memory_vector", options=options))


def test_the_model_is_found_by_its_name_and_by_what_the_checker_makes_of_it():
    """`org/my_model` is a folder `org_my_model`, and then a name again: `org/my/model`."""
    models = bfcl_entry.listing("org/my_model", "a model").MODEL_CONFIG_MAPPING
    assert models == {"org/my_model": "a model", "org/my/model": "a model"}


def files(tmp_path, category, accuracy, correct, total, *failures):
    heading = {"accuracy": accuracy, "correct_count": correct, "total_count": total}
    write(tmp_path / "score" / "m" / "non_live" / f"BFCL_v4_{category}_score.json", heading, *failures)
    results = [
        {"id": f"{category}_{n}", "result": [{"f": "{}"}], "input_token_count": 5, "output_token_count": [1]}
        for n in range(total)
    ]
    write(tmp_path / "result" / "m" / "non_live" / f"BFCL_v4_{category}_result.json", *results)


def test_categories_and_the_whole_are_scored(tmp_path):
    files(tmp_path, "simple_python", 0.5, 1, 2, {"id": "simple_python_0", "possible_answer": [{"f": {}}]})
    files(tmp_path, "parallel", 1.0, 2, 2)
    result, rows = Bfcl().outcome(make_ask(tmp_path, "simple_python+parallel"))
    scores = {name: task.metrics["accuracy"].scores["accuracy"].value for name, task in result.tasks.items()}
    assert scores == {"simple_python+parallel": 0.75, "parallel": 1.0, "simple_python": 0.5}
    by_id = {row["id"]: row for row in rows}
    assert (by_id["simple_python_0"]["score"], by_id["simple_python_1"]["score"]) == (0.0, 1.0)
    assert by_id["simple_python_0"]["ground_truth"] == ['[{"f": {}}]']
    assert (by_id["parallel_1"]["num_prompt_tokens"], by_id["parallel_1"]["num_generated_tokens"]) == (5, None)


def test_categories_that_end_alike_keep_their_own_answers(tmp_path):
    for category in ("multiple", "parallel_multiple"):
        files(tmp_path, category, 1.0, 2, 2)
    _, rows = Bfcl().outcome(make_ask(tmp_path, "multiple+parallel_multiple"))
    assert [(row["id"], row["group"]) for row in rows] == [
        (f"{category}_{number}", category) for category in ("multiple", "parallel_multiple") for number in range(2)
    ]


def test_an_image_is_given_the_program_that_enters_the_model(tmp_path):
    assert all(str(call.reads[0]) == call.argv[1] for call in Bfcl().calls(make_ask(tmp_path, "parallel")))


def test_one_category_is_not_told_twice(tmp_path):
    files(tmp_path, "parallel", 1.0, 2, 2)
    assert list(Bfcl().outcome(make_ask(tmp_path, "parallel")).result.tasks) == ["parallel"]


def test_a_missing_score_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="left no score"):
        Bfcl().outcome(make_ask(tmp_path, "parallel"))
