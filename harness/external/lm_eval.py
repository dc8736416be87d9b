"""lm-evaluation-harness: `lm-eval.<task>`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.api import EndpointType, EvaluationResult, MetricResult, TaskResult
from harness.errors import ConfigurationError
from harness.external.base import (
    DATA_DIR,
    NO_KEY,
    Ask,
    Call,
    Outcome,
    OutputError,
    Row,
    beside_data,
    sample_row,
    score,
    table,
    whole,
)

_MODELS = {
    EndpointType.CHAT: ("local-chat-completions", "/chat/completions"),
    EndpointType.COMPLETIONS: ("local-completions", "/completions"),
    EndpointType.COMPLETIONS_LOGPROB: ("local-completions", "/completions"),
}
_TIMEOUT_S = 86_400
"""lm-eval's own is 300 s in all; long generations are normal, and the sidecar sees a server that is gone."""


class LmEval:
    """Calls `lm_eval` with its API models. `limit_samples` is its `--limit`: of every subtask of a group.

    Loglikelihood tasks need `logprobs` with `echo` of the endpoint, and a tokenizer unless prompts may go as text.
    """

    name = "lm-eval"
    requirements = ("lm-eval[api]==0.4.13",)
    imported: tuple[str, ...] = ()
    options: Mapping[str, str] = {
        "num_fewshot": "examples in the prompt; null is the task's own number",
        "tokenizer": "folder or name of a tokenizer; null sends prompts as text",
        "include_path": "folder with tasks of your own",
        "data_dir": DATA_DIR,
        "gen_kwargs": "map of further generation arguments",
    }

    def calls(self, ask: Ask) -> list[Call]:
        """One command, with every sample logged."""
        if ask.kind not in _MODELS:
            raise ConfigurationError(
                f"lm-eval cannot ask an endpoint of type {ask.kind.value!r}; it takes chat or completions"
            )
        model, path = _MODELS[ask.kind]
        argv = ["lm_eval", "--model", model, "--tasks", ask.task]
        argv += ["--model_args", json.dumps(self._model_args(ask, path))]
        argv += ["--output_path", str(ask.folder), "--log_samples"]
        if ask.kind is EndpointType.CHAT:
            argv += ["--apply_chat_template"]
        if ask.limit is not None:
            argv += ["--limit", str(ask.limit)]
        shots = whole(ask.options, "num_fewshot", least=0)
        if shots is not None:
            argv += ["--num_fewshot", str(shots)]
        own = ask.options.get("include_path")
        if own is not None:
            argv += ["--include_path", str(Path(own).resolve())]  # as seen from here: it runs in another folder
        generation = _generation(ask)
        if generation:
            argv += ["--gen_kwargs", json.dumps(generation)]
        env = {"OPENAI_API_KEY": NO_KEY, "TOKENIZERS_PARALLELISM": "false"}
        named = [ask.options.get(name) for name in ("include_path", "tokenizer")]
        reads = tuple(Path(each).resolve() for each in named if each is not None and Path(each).exists())
        return [beside_data(Call(tuple(argv), env, reads=reads), ask)]

    def _model_args(self, ask: Ask, path: str) -> dict[str, Any]:
        retries = 3 if ask.params.max_retries is None else ask.params.max_retries
        args: dict[str, Any] = {
            "model": ask.model,
            "base_url": ask.base_url + path,
            "num_concurrent": ask.parallelism,
            "max_retries": retries + 1,  # lm-eval counts attempts
            "timeout": ask.params.request_timeout or _TIMEOUT_S,
        }
        if ask.kind is not EndpointType.CHAT:
            tokenizer = ask.options.get("tokenizer")
            if tokenizer is None:
                args |= {"tokenizer_backend": "none", "tokenized_requests": False}
            else:
                args["tokenizer"] = str(Path(tokenizer).resolve()) if Path(tokenizer).exists() else tokenizer
        return args

    def outcome(self, ask: Ask) -> Outcome:
        """Scores by task, subtasks and groups each, as lm-eval names them: `exact_match,strict-match`."""
        document = _newest(ask.folder)
        groups = set(document.get("groups") or ())
        counts = {name: told.get("effective") for name, told in (document.get("n-samples") or {}).items()}
        tasks = {
            name: TaskResult(metrics=_metrics(told, counts.get(name)))
            for name, told in document["results"].items()
            if name not in groups
        }
        if not tasks:
            raise OutputError(f"lm-eval's results in {ask.folder} hold no task")
        rows = [row for name in tasks for row in _rows(ask.folder, name)]
        if ask.task in groups:
            told = document["groups"][ask.task]
            tasks = {ask.task: TaskResult(metrics=_metrics(told, None)), **tasks}
        return Outcome(EvaluationResult(tasks=tasks), rows)


def _generation(ask: Ask) -> dict[str, Any]:
    params = ask.params
    chosen = {"max_gen_toks": params.max_new_tokens, "temperature": params.temperature, "top_p": params.top_p}
    given = {name: value for name, value in chosen.items() if value is not None}
    if params.temperature:
        given["do_sample"] = True
    return given | table(ask.options, "gen_kwargs")


def _newest(folder: Path) -> dict[str, Any]:
    found = sorted(folder.rglob("results_*.json"))
    if not found:
        raise OutputError(f"lm-eval left no results_*.json in {folder}; see its log")
    document: dict[str, Any] = json.loads(found[-1].read_text(encoding="utf-8"))
    return document


def _metrics(told: Mapping[str, Any], count: int | None) -> dict[str, MetricResult]:
    """`metric,filter` with its `metric_stderr,filter`; whatever else is there (alias, sample_len) is no score."""
    found = {}
    for name, value in told.items():
        metric, comma, filter_name = name.partition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        stderr = told.get(f"{metric}_stderr,{filter_name}")
        known = float(stderr) if isinstance(stderr, int | float) else None
        found[_label(metric, filter_name)] = MetricResult(
            scores={_label(metric, filter_name): score(float(value), known, count)}
        )
    return found


def _label(metric: str, filter_name: str) -> str:
    return metric if filter_name == "none" else f"{metric},{filter_name}"


def _rows(folder: Path, task: str) -> Iterator[Row]:
    """One row for each document: lm-eval writes one line for each of its filters."""
    found = sorted(folder.rglob(f"samples_{task}_2*.jsonl"))
    if not found:
        return
    by_document: dict[str, list[dict[str, Any]]] = {}
    for line in found[-1].read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        by_document.setdefault(str(told["doc_id"]), []).append(told)
    for document, lines in by_document.items():
        scores = {
            _label(metric, line["filter"]): float(line[metric])
            for line in lines
            for metric in line["metrics"]
            if isinstance(line.get(metric), int | float)
        }
        first = lines[0]
        yield sample_row(
            f"{task}/{document}",
            next(iter(scores), ""),
            scores,
            query=_asked(first),
            generation=_said(first),
            answer=_shown(first.get("filtered_resps")),
            ground_truth=[_shown(first.get("target"))],
            group=task,
        )


def _asked(line: Mapping[str, Any]) -> str:
    arguments = line.get("arguments") or {}
    first: Any = next(iter(arguments.values()), {}) if isinstance(arguments, dict) else {}
    return _shown(first.get("arg_0")) if isinstance(first, dict) else _shown(first)


def _said(line: Mapping[str, Any]) -> str | None:
    responses = line.get("resps")
    while isinstance(responses, list) and responses:
        responses = responses[0]
    return responses if isinstance(responses, str) else None


def _shown(value: Any) -> str:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
