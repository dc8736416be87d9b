"""Data of the project's own making, laid out as the published data sets are."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.tasks.mmlu_pro import SUBJECTS


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def lines() -> Callable[[Path, Sequence[Mapping[str, Any]]], Path]:
    """Writes rows as JSON lines."""
    return write_lines


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A folder with six word problems, twelve more to draw examples from, and two questions of each subject."""
    root = tmp_path / "hub"
    for split, count in (("test", 6), ("train", 12)):
        problems = [
            {"question": f"{split}: how much is {n} times 1000?", "answer": f"It is <<{n}*1000>>.\n#### {n},000"}
            for n in range(1, count + 1)
        ]
        write_lines(root / "openai" / "gsm8k" / f"{split}.jsonl", problems)
    for split, count in (("test", 2), ("validation", 5)):
        rows: list[dict[str, Any]] = [
            {
                "question_id": place * 10 + n,
                "question": f"{split} {n} of {subject}?",
                "options": [f" {subject} {n}", "no", "perhaps", *(["N/A"] if split == "validation" else [])],
                "answer": "ABC"[n % 3],
                "answer_index": n % 3,
                "cot_content": ""
                if split == "test"
                else f"A: Let's think step by step. So it is. The answer is ({'ABC'[n % 3]}).",
                "category": subject,
                "src": "ours",
            }
            for n in range(count)
            for place, subject in enumerate(SUBJECTS)
        ]
        write_lines(root / "TIGER-Lab" / "MMLU-Pro" / f"{split}.jsonl", rows)
    return root
