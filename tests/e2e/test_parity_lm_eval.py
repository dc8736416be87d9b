"""The native tasks ask what lm-eval asks and score as lm-eval scores: the same questions, the same recorded answers."""

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.api import ConfigParams, EndpointType
from harness.asked import Asked
from harness.demo_lm_eval import find_lm_eval
from harness.results import evaluation_result
from harness.runner import run_task
from harness.tasks import find_task
from harness.tasks.mmlu_pro import SUBJECTS
from proxy.testing import ModelServer, Reply
from tests.recorded.model_answers import gsm8k_answer, mmlu_pro_answer

ROOT = Path(__file__).resolve().parents[2]
HUB = ROOT.parent / "shared" / "data" / "hub"
LM_EVAL = find_lm_eval()
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(LM_EVAL is None, reason="lm-eval is not installed; `make e2e` installs it"),
    pytest.mark.skipif(
        not HUB.exists(), reason="needs GSM8K and MMLU-Pro beside the repository, in ../shared/data/hub"
    ),
]


def lm_eval(server: ModelServer, output: Path, kind: str, *arguments: str) -> dict[str, Any]:
    """Runs lm-eval against `server`: its scores by task and, by task, its records sorted by document."""
    path = CHAT if kind == "chat" else COMPLETIONS
    model = {"chat": "local-chat-completions", "completions": "local-completions"}[kind]
    options = f"model=mock-model,base_url={server.url}{path},num_concurrent=4,max_retries=1"
    command = [str(LM_EVAL), "--model", model, "--log_samples", "--output_path", str(output), *arguments]
    if kind == "chat":
        command += ["--apply_chat_template"]
    else:
        options += ",tokenizer_backend=None,tokenized_requests=False"
    done = subprocess.run(
        [*command, "--model_args", options],
        cwd=HUB,
        env={
            **os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OPENAI_API_KEY": "unused",
            "HF_HOME": str(output / "hf"), "HF_DATASETS_CACHE": str(output / "datasets"),
        },
        capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [found] = output.rglob("results_*.json")
    return json.loads(found.read_text())["results"]


def records(output: Path, task: str, metric: str) -> list[float]:
    """lm-eval's score of every document of a task for one of its filters, in their order."""
    [path] = output.rglob(f"samples_{task}_*.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    wanted = [row for row in rows if row["filter"] == metric]
    return [row["exact_match"] for row in sorted(wanted, key=lambda row: row["doc_id"])]


def native(name: str, server: ModelServer, limit: int | None, kind: EndpointType, **extra: Any):
    """The task itself, its records and its result."""
    task = find_task(name, {"data_dir": str(HUB), **extra})
    asked = Asked(server.url, kind, params=ConfigParams(limit_samples=limit))
    found, _ = asyncio.run(run_task(task, asked))
    return found, evaluation_result(task, found)


def answering(server: ModelServer, answers: dict[str, str], path: str) -> None:
    """Makes `server` give the recorded answer to the question that a request ends with."""

    def reply(request: Any) -> Reply:
        [asked] = [answer for question, answer in answers.items() if question == last_question(request.json)]
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": asked},
            "text": asked,
        }
        return Reply(json={"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

    server.on(path, reply)


def last_question(body: dict[str, Any]) -> str:
    text = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
    return text[text.rindex("Question:") :]


def asked_of(server: ModelServer) -> dict[str, Any]:
    """What was asked, by the question at its end."""
    bodies = [request.json for request in server.generation_requests]
    return {last_question(body): body.get("messages", body.get("prompt")) for body in bodies}


def gsm8k_answers(kind: EndpointType) -> dict[str, str]:
    task = find_task("gsm8k", {"data_dir": str(HUB)})
    samples = task.samples()[:200]
    return {
        last_question(task.request(sample, kind)): gsm8k_answer(number, sample.accepted[0])
        for number, sample in enumerate(samples)
    }


def mmlu_pro_answers(kind: EndpointType) -> dict[str, str]:
    task = find_task("mmlu_pro", {"data_dir": str(HUB), "prompt": "lm-eval"})
    return {
        last_question(task.request(sample, kind)): mmlu_pro_answer(
            number, sample.accepted[0], sample.fields["row"]["options"]
        )
        for number, sample in enumerate(task.samples())
    }


def test_gsm8k_scores_200_recorded_answers_as_lm_eval_does_and_asks_the_same(tmp_path):
    answers = gsm8k_answers(EndpointType.CHAT)
    with ModelServer() as theirs, ModelServer() as ours:
        answering(theirs, answers, CHAT)
        answering(ours, answers, CHAT)
        scores = lm_eval(theirs, tmp_path, "chat", "--tasks", "gsm8k", "--limit", "200")["gsm8k"]
        found, result = native("gsm8k", ours, 200, EndpointType.CHAT)
        assert asked_of(ours) == asked_of(theirs)
        assert sampling(ours) == {(0, ("Question:", "</s>", "<|im_end|>"))}
    assert len(found) == 200
    for filtered in ("strict-match", "flexible-extract"):
        metric = f"exact_match,{filtered}"
        assert [record.scores[metric] for record in found] == records(tmp_path, "gsm8k", filtered)
        value = result.tasks["gsm8k"].metrics[metric].scores[metric]
        assert value.value == pytest.approx(scores[metric])
        assert value.stats.stderr == pytest.approx(scores[f"exact_match_stderr,{filtered}"])
        assert 0.1 < value.value < 0.9  # both right and wrong answers were compared


def test_mmlu_pro_scores_210_recorded_answers_as_lm_eval_does_and_asks_the_same(tmp_path):
    answers = mmlu_pro_answers(EndpointType.CHAT)
    with ModelServer() as theirs, ModelServer() as ours:
        answering(theirs, answers, CHAT)
        answering(ours, answers, CHAT)
        scores = lm_eval(theirs, tmp_path, "chat", "--tasks", "mmlu_pro", "--limit", "15")
        found, result = native("mmlu_pro", ours, 210, EndpointType.CHAT, prompt="lm-eval")
        assert asked_of(ours) == asked_of(theirs)
    assert len(found) == 210
    metric = "exact_match,custom-extract"
    whole = result.tasks["mmlu_pro"].metrics[metric].scores[metric].value
    assert whole == pytest.approx(scores["mmlu_pro"][metric])
    assert 0.1 < whole < 0.9
    assert result.groups is not None
    parts = result.groups["mmlu_pro"].groups
    assert parts is not None
    for subject in SUBJECTS:
        name = f"mmlu_pro_{subject.replace(' ', '_')}"
        mine = [record.scores[metric] for record in found if record.group == subject]
        assert mine == records(tmp_path, name, "custom-extract")
        assert parts[subject].metrics[metric].scores[metric].value == pytest.approx(scores[name][metric])


def test_completions_get_the_prompts_that_lm_eval_sends(tmp_path):
    tasks = {"gsm8k": {}, "mmlu_pro_law": {"prompt": "lm-eval"}}
    answers = gsm8k_answers(EndpointType.COMPLETIONS) | mmlu_pro_answers(EndpointType.COMPLETIONS)
    with ModelServer() as theirs, ModelServer() as ours:
        answering(theirs, answers, COMPLETIONS)
        answering(ours, answers, COMPLETIONS)
        lm_eval(theirs, tmp_path, "completions", "--tasks", ",".join(tasks), "--limit", "3")
        for name, extra in tasks.items():
            native(name, ours, 3, EndpointType.COMPLETIONS, **extra)
        assert asked_of(ours) == asked_of(theirs)
        assert len(asked_of(ours)) == 6
        assert sampling(ours) == sampling(theirs)


def sampling(server: ModelServer) -> set[tuple[float, tuple[str, ...]]]:
    """How the generation requests asked to sample. (The limits of tokens differ: see docs/reference/tasks.md.)"""
    return {(request.json["temperature"], tuple(request.json["stop"])) for request in server.generation_requests}
