"""Folders of ended tasks, as a run writes them."""

import json
from pathlib import Path
from typing import Any

import yaml


def row(number: int = 0, **fields: Any) -> dict[str, Any]:
    made = {
        "id": f"s-{number:03}",
        "sub_query_id": 0,
        "query": f"question {number}",
        "generation": f"answer {number}",
        "ground_truth": ["yes"],
        "answer": "yes",
        "score": 1.0,
        "score_name": "accuracy",
        "num_prompt_tokens": 5,
        "num_generated_tokens": 2,
        "finish_reason": "stop",
        "cache": "miss",
        "exchange_id": "x",
        "latency_ms": 1.0,
        "attempts": 1,
        "error": None,
        "group": "",
        "scores": {"accuracy": 1.0},
        "unparsed": [],
    }
    if "score" in fields and "scores" not in fields:
        fields["scores"] = {"accuracy": fields["score"]}
    return made | fields


def results(task: str = "quiz", value: float = 1.0) -> dict[str, Any]:
    return {
        "tasks": {
            task: {
                "metrics": {
                    "accuracy": {"scores": {"accuracy": {"value": value, "stats": {"count": 2, "stderr": 0.1}}}},
                    "errors": {"scores": {"count": {"value": 0.0, "stats": {}}}},
                }
            }
        }
    }


def folder(path: Path, rows: list[dict[str, Any]], task: str = "quiz", **params: Any) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    document = {
        "git_hash": "",
        "command": "evalside run",
        "config": {"type": task, "output_dir": str(path), "params": params},
        "target": {"api_endpoint": {"url": "http://localhost:8080/v1", "model_id": "m"}},
        "results": results(task),
        "metadata": {},
    }
    (path / "results.yml").write_text(yaml.safe_dump(document))
    (path / "samples.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path
