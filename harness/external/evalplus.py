"""EvalPlus: `evalplus.humaneval` and `evalplus.mbpp`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.api import EndpointType, EvaluationResult, MetricResult, TaskResult
from harness.errors import ConfigurationError
from harness.external.base import (
    NO_KEY,
    Ask,
    Call,
    Outcome,
    OutputError,
    Row,
    flag,
    metric,
    refuse_params,
    sample_row,
    whole,
)
from harness.scoring.statistics import mean, pass_at_k
from harness.strict import nearest

_OVERRIDES = {"humaneval": "HUMANEVAL_OVERRIDE_PATH", "mbpp": "MBPP_OVERRIDE_PATH"}
_TEMPERATURE = 0.8
_KS = (1, 10, 100)


class EvalPlus:
    """Calls `evalplus.codegen`, and `evalplus.evaluate` where `execute` allows what the model wrote to be run here.

    EvalPlus asks one question at a time, with top_p 0.95 and at most 768 tokens, so those cannot be set.
    `limit_samples` N are the problems with a number below N.
    """

    name = "evalplus"
    requirements = ("evalplus==0.3.1",)
    imported = (
        "appdirs>=1.4.4",
        "datasets>=2.21",
        "fire>=0.6",
        "multipledispatch>=0.6",
        "numpy>=1.19.5",
        "openai>=1.11.1",
        "psutil>=5.9",
        "rich>=12.3",
        "tempdir>=0.7.1",
        "termcolor>=2",
        "tqdm>=4.56",
        "tree-sitter>=0.22",
        "tree-sitter-python>=0.21",
        "wget>=3.2",
    )
    """All but transformers, stop-sequencer (torch) and other vendors' clients: those are for its other backends."""
    options: Mapping[str, str] = {
        "execute": "true runs the generated programs on this machine, without a sandbox, and scores them",
        "n_samples": "answers to each problem; above 1 they are sampled at temperature 0.8, unless one is given",
        "dataset_path": "file with problems in EvalPlus' format, in place of those that it downloads",
    }

    def calls(self, ask: Ask) -> list[Call]:
        """Generation, then the tests where they may run."""
        if ask.task not in _OVERRIDES:
            raise ConfigurationError(f"unknown task {ask.task!r} of evalplus{nearest(ask.task, _OVERRIDES)}")
        if ask.kind is not EndpointType.CHAT:
            raise ConfigurationError(f"evalplus asks chat endpoints, not {ask.kind.value!r}")
        refuse_params(self.name, ask.params, ("top_p", "max_new_tokens", "max_retries", "request_timeout"))
        env = {"OPENAI_API_KEY": NO_KEY, "TOKENIZERS_PARALLELISM": "false"}
        reads: tuple[Path, ...] = ()
        if ask.options.get("dataset_path") is not None:
            env[_OVERRIDES[ask.task]] = str(Path(ask.options["dataset_path"]).resolve())
            reads = (Path(env[_OVERRIDES[ask.task]]),)
        calls = [Call(tuple(self._codegen(ask)), env, reads=reads)]
        if flag(ask.options, "execute"):
            if ask.limit is not None:
                raise ConfigurationError(
                    "limit_samples with execute: evalplus scores all problems or none; leave one out"
                )
            samples = str(_solutions_path(ask))
            calls.append(Call(("evalplus.evaluate", "--dataset", ask.task, "--samples", samples), env, reads=reads))
        return calls

    def _codegen(self, ask: Ask) -> list[str]:
        argv = ["evalplus.codegen", "--model", ask.model, "--dataset", ask.task, "--backend", "openai"]
        argv += ["--base_url", ask.base_url, "--root", str(ask.folder)]
        n_samples, temperature = whole(ask.options, "n_samples") or 1, _temperature(ask)
        argv += ["--n_samples", str(n_samples), "--temperature", str(temperature)]
        if temperature == 0:
            if n_samples > 1:
                raise ConfigurationError(
                    f"n_samples {n_samples} at temperature 0: give a temperature above 0, or one sample"
                )
            argv.append("--greedy")
        limit = ask.limit
        if isinstance(limit, float):
            raise ConfigurationError(f"limit_samples {limit} is a share, and evalplus takes a number of problems")
        return argv + (["--id_range", f"[0,{limit}]"] if limit is not None else [])

    def outcome(self, ask: Ask) -> Outcome:
        """`pass@k` of the base tests and `plus_pass@k` of all of them, as EvalPlus defines them; else `generated`."""
        path = _solutions_path(ask)
        if not path.is_file():
            raise OutputError(f"evalplus left no {path.name} in {path.parent}; see its log")
        solutions = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        tested = path.with_name(path.name.replace(".jsonl", "_eval_results.json"))
        if not tested.is_file():
            rows = [_row(told, "generated", {}) for told in _numbered(solutions)]
            return Outcome(_result(ask, {"generated": metric("generated", len(solutions))}), rows)
        by_problem: Mapping[str, list[Mapping[str, Any]]] = json.loads(tested.read_text(encoding="utf-8"))["eval"]
        if not by_problem:
            raise OutputError(f"{tested} holds no problem; see the log of evalplus")
        rows = [
            _row({"task_id": problem, "repeat": number, **told}, "pass@1", _passed(told))
            for problem, results in by_problem.items()
            for number, told in enumerate(results)
        ]
        return Outcome(_result(ask, _pass_at(by_problem)), rows)


def _temperature(ask: Ask) -> float:
    if ask.params.temperature is not None:
        return ask.params.temperature
    return _TEMPERATURE if (whole(ask.options, "n_samples") or 1) > 1 else 0.0


def _solutions_path(ask: Ask) -> Path:
    identifier = ask.model.strip("./").replace("/", "--")
    return ask.folder / ask.task / f"{identifier}_openai_temp_{_temperature(ask)}.jsonl"


def _numbered(solutions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    seen: dict[str, int] = {}
    numbered = []
    for told in solutions:
        repeat = seen[told["task_id"]] = seen.get(told["task_id"], -1) + 1
        numbered.append({**told, "repeat": repeat})
    return numbered


def _passed(told: Mapping[str, Any]) -> dict[str, float]:
    base = told["base_status"] == "pass"
    plus = {} if told.get("plus_status") is None else {"plus_pass@1": float(base and told["plus_status"] == "pass")}
    return {"pass@1": float(base), **plus}


def _pass_at(by_problem: Mapping[str, list[Mapping[str, Any]]]) -> dict[str, MetricResult]:
    found = {}
    fewest = min(len(results) for results in by_problem.values())
    for name in ("pass@1", "plus_pass@1"):
        marks = [[_passed(told).get(name) for told in results] for results in by_problem.values()]
        if any(None in each for each in marks):
            continue
        for k in (k for k in _KS if k <= fewest):
            label = name.replace("@1", f"@{k}")
            values = [pass_at_k(len(each), sum(mark == 1.0 for mark in each), k) for each in marks]
            found[label] = metric(label, mean(values), count=len(values))
    return found


def _result(ask: Ask, metrics: dict[str, MetricResult]) -> EvaluationResult:
    return EvaluationResult(tasks={ask.task: TaskResult(metrics=metrics)})


def _row(told: Mapping[str, Any], score_name: str, scores: Mapping[str, float]) -> Row:
    return sample_row(
        str(told["task_id"]), score_name, scores, sub_query_id=told["repeat"], generation=told.get("solution")
    )
