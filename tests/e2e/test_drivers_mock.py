"""Unmodified evalplus, bfcl-eval, simple-evals and evalscope as tasks of `evalside run`; then without a model server.

The model server is the mock one, so that what is right and what is wrong is known.
"""

import json
from pathlib import Path

import pytest

from proxy.testing import ModelServer, RecordedRequest, Reply
from tests.e2e.launched import PROBLEMS, Launched, Outcome, python_of

pytestmark = pytest.mark.timeout(1200)

RIGHT = "def count_even(numbers):\n    return len([n for n in numbers if n % 2 == 0])\n"
RIGHT_BUT_FOR_ODD_CASES = (
    "def initials(name):\n    return ''.join(word[:1].upper() for word in name.strip().split(' '))[:9]\n"
)
"""Right for the base tests; further tests have names with more than nine words."""


def needs(name: str, target: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(python_of(name) is None, reason=f"{name} is not installed; `make {target}` installs it")


def ran_and_replayed(server: ModelServer, folder: Path, task: str, name: str, **params) -> Outcome:
    """What a run gives, after a replay without the model server gave the same."""
    extra = {"python": str(python_of(name)), **params.pop("extra", {})}
    with server:
        launched = Launched(folder / "run", task, server.url, extra=extra, **params)
        first = launched.run()
        asked = len(server.generation_requests)
    again = launched.replay()
    assert asked == len(server.generation_requests) > 0
    assert first.manifest["cache"] == {"miss": asked}
    assert again.manifest["cache"] == {"hit": asked}
    assert again.results == first.results
    assert [row["generation"] for row in again.rows] == [row["generation"] for row in first.rows]
    return first


def values(outcome: Outcome, task: str) -> dict[str, float]:
    """The scores of a task, by metric."""
    metrics = outcome.results["tasks"][task]["metrics"]
    return {name: told["scores"][name]["value"] for name, told in metrics.items()}


def program(body, choice: int, call: int) -> str:
    """One problem is solved, the other for the usual cases."""
    solved = RIGHT if "count_even" in json.dumps(body) else RIGHT_BUT_FOR_ODD_CASES
    return f"Here it is:\n```python\n{solved}```\n"


@pytest.mark.e2e_big
@needs("evalplus", "e2e")
def test_evalplus_generates(tmp_path):
    ran = ran_and_replayed(
        ModelServer(answer=program), tmp_path, "evalplus.humaneval", "evalplus", extra={"dataset_path": str(PROBLEMS)}
    )
    assert values(ran, "humaneval") == {"generated": 2.0}
    assert [row["id"] for row in ran.rows] == ["HumanEval/0", "HumanEval/1"]
    assert "def count_even" in ran.rows[0]["generation"]


@pytest.mark.e2e
@needs("evalplus", "e2e")
def test_evalplus_runs_what_was_generated(tmp_path):
    extra = {"dataset_path": str(PROBLEMS), "execute": True}
    ran = ran_and_replayed(ModelServer(answer=program), tmp_path, "evalplus.humaneval", "evalplus", extra=extra)
    assert values(ran, "humaneval") == {"pass@1": 1.0, "plus_pass@1": 0.5}
    assert [row["scores"] for row in ran.rows] == [
        {"pass@1": 1.0, "plus_pass@1": 1.0},
        {"pass@1": 1.0, "plus_pass@1": 0.0},
    ]


def calls_a_tool(request: RecordedRequest) -> Reply | None:
    """The area of a triangle is asked for rightly, all else is answered with text."""
    if b"triangle with a base of 10 units" not in request.body:
        return None
    function = {"name": "calculate_triangle_area", "arguments": json.dumps({"base": 10, "height": 5, "unit": "units"})}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }
    return Reply(
        json={
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "org/my_model",
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16},
        }
    )


@pytest.mark.e2e
@needs("bfcl", "e2e")
def test_bfcl(tmp_path):
    server = ModelServer()
    server.on("/v1/chat/completions", calls_a_tool)
    ran = ran_and_replayed(
        server, tmp_path, "bfcl.simple_python+parallel", "bfcl", model="org/my_model", limit_samples=3, temperature=0.0
    )
    assert values(ran, "simple_python+parallel") == {"accuracy": pytest.approx(1 / 6)}
    assert values(ran, "simple_python") == {"accuracy": pytest.approx(1 / 3)}
    assert values(ran, "parallel") == {"accuracy": 0.0}
    assert [row["id"] for row in ran.rows if row["score"]] == ["simple_python_0"]
    assert len(ran.rows) == 6


def write_lines(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.mark.e2e_big
@needs("simple-evals", "harnesses")
def test_simple_evals(tmp_path):
    rows = [
        {"question_id": n, "question": f"Which is number {n}?", "options": [f"number {k}" for k in range(10)],
         "answer": "ABCDEFGHIJ"[n], "answer_index": n, "cot_content": "", "category": "math", "src": "ours"}
        for n in range(4)
    ]  # fmt: skip
    write_lines(tmp_path / "hub" / "TIGER-Lab" / "MMLU-Pro" / "test.jsonl", rows)
    ran = ran_and_replayed(
        ModelServer(answer="Let me see.\nAnswer: B"), tmp_path, "simple-evals.mmlu_pro", "simple-evals",
        limit_samples=3, extra={"data_dir": str(tmp_path / "hub")},
    )  # fmt: skip
    assert values(ran, "mmlu_pro")["score"] == pytest.approx(1 / 3)


@pytest.mark.e2e_big
@needs("evalscope", "harnesses")
def test_evalscope(tmp_path):
    rows = [
        {"id": n, "question": f"Which is number {n}?", "A": "number 0", "B": "number 1", "C": "number 2",
         "answer": "ABC"[n]}
        for n in range(3)
    ]  # fmt: skip
    write_lines(tmp_path / "mcq" / "ours_val.jsonl", rows)
    arguments = {"local_path": str(tmp_path / "mcq"), "subset_list": ["ours"]}
    ran = ran_and_replayed(
        ModelServer(answer="答案: B"), tmp_path, "evalscope.general_mcq", "evalscope", temperature=0.0,
        extra={"dataset_args": arguments},
    )  # fmt: skip
    [score] = values(ran, "general_mcq").values()
    assert score == pytest.approx(1 / 3, abs=1e-3)
    assert [row["score"] for row in ran.rows] == [0.0, 1.0, 0.0]
