"""The Berkeley Function-Calling Leaderboard: `bfcl.<category>`, or several joined by `+`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.api import EndpointType, EvaluationResult, TaskResult
from harness.errors import ConfigurationError
from harness.external.base import NO_KEY, Ask, Call, Outcome, OutputError, Row, metric, refuse_params, sample_row

ENTRY = Path(__file__).with_name("bfcl_entry.py")
_HANDLERS = ("chat", "responses", "prompt")
_WITH_VECTORS = ("memory_vector", "memory", "agentic", "all_scoring", "all")
"""Categories whose memory is a vector store, and the collections that hold them."""


class Bfcl:
    """Calls bfcl-eval, whose list of models is fixed, with the endpoint's model entered into that list.

    Its data are in its package, so that it needs no network. `limit_samples` N are the first N of each category.
    """

    name = "bfcl"
    requirements = ("bfcl-eval==2026.3.23",)
    imported = (
        "beautifulsoup4",
        "filelock==3.20.0",
        "google-search-results",
        "html2text",
        "mpmath==1.3.0",
        "numpy==1.26.4",
        "openai>=1.86",
        "overrides",
        "pandas",
        "pydantic>=2.8.2",
        "python-dotenv>=1.0.1",
        "rank-bm25==0.2.2",
        "requests",
        "tabulate>=0.9",
        "tenacity>=8.5",
        "tqdm",
        "tree-sitter==0.21.3",
        "tree-sitter-java==0.21.0",
        "tree-sitter-javascript==0.21.4",
        "typer>=0.12.5",
    )
    """All but other vendors' clients, and sentence-transformers and FAISS (torch), which `_WITH_VECTORS` need."""
    options: Mapping[str, str] = {
        "handler": "how tools are asked for: chat (the default), responses, or prompt for models without tool calls"
    }

    def calls(self, ask: Ask) -> list[Call]:
        """Generation, then its checker, which runs no program of the model's."""
        if ask.kind is not EndpointType.CHAT:
            raise ConfigurationError(f"bfcl asks chat endpoints, not {ask.kind.value!r}")
        handler = ask.options.get("handler", "chat")
        if handler not in _HANDLERS:
            raise ConfigurationError(f"params.extra.handler is {handler!r}; it takes {', '.join(_HANDLERS)}")
        limit = ask.limit
        if isinstance(limit, float):
            raise ConfigurationError(f"limit_samples {limit} is a share, and bfcl takes a number of entries")
        self._refuse_vectors(ask)
        refuse_params(self.name, ask.params, ("top_p", "max_new_tokens", "max_retries", "request_timeout"))
        common = ["python", str(ENTRY.resolve()), handler, ask.model, ask.task, str(limit or 0)]
        env = {
            "BFCL_PROJECT_ROOT": str(ask.folder),
            "OPENAI_BASE_URL": ask.base_url,
            "OPENAI_API_KEY": NO_KEY,
            "HF_HUB_OFFLINE": "1",
        }
        generate = ["generate", "--num-threads", str(ask.parallelism)]
        if ask.params.temperature is not None:
            generate += ["--temperature", str(ask.params.temperature)]
        reads = (ENTRY.resolve(),)
        return [Call((*common, *generate), env, reads=reads), Call((*common, "evaluate"), env, reads=reads)]

    def _refuse_vectors(self, ask: Ask) -> None:
        if ask.options.get("python") is not None or ask.options.get("image") is not None:
            return
        for category in ask.task.split("+"):
            if category in _WITH_VECTORS:
                raise ConfigurationError(
                    f"bfcl's {category!r} needs sentence-transformers and FAISS, which the environment that is made "
                    f"lacks; name one in params.extra.python, made with: pip install {' '.join(self.requirements)}"
                )

    def outcome(self, ask: Ask) -> Outcome:
        """`accuracy` of each category, and of all entries together."""
        found = sorted((ask.folder / "score").rglob("*_score.json"))
        if not found:
            raise OutputError(f"bfcl left no score in {ask.folder / 'score'}; see its log")
        rows: list[Row] = []
        correct = total = 0
        tasks: dict[str, TaskResult] = {}
        for path in found:
            category = path.name.removesuffix("_score.json").split("_", 2)[-1]
            heading, *failures = _lines(path)
            tasks[category] = _task(float(heading["accuracy"]), int(heading["total_count"]))
            correct += int(heading["correct_count"])
            total += int(heading["total_count"])
            answers = path.name.removesuffix("_score.json") + "_result.json"
            rows += _rows(ask.folder / "result", answers, category, {str(each["id"]): each for each in failures})
        whole = {ask.task: _task(correct / total if total else 0.0, total)} if ask.task not in tasks else {}
        return Outcome(EvaluationResult(tasks=whole | tasks), rows)


def _task(accuracy: float, count: int) -> TaskResult:
    return TaskResult(metrics={"accuracy": metric("accuracy", accuracy, count=count)})


def _rows(folder: Path, name: str, category: str, failures: Mapping[str, Row]) -> Iterator[Row]:
    for path in sorted(folder.rglob(name)):
        for told in _lines(path):
            failed = failures.get(str(told["id"]))
            yield sample_row(
                str(told["id"]),
                "accuracy",
                {"accuracy": float(failed is None)},
                generation=json.dumps(told.get("result"), ensure_ascii=False),
                num_prompt_tokens=_count(told.get("input_token_count")),
                num_generated_tokens=_count(told.get("output_token_count")),
                ground_truth=[] if failed is None else [json.dumps(failed.get("possible_answer"), ensure_ascii=False)],
                group=category,
            )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
