"""Data of the project's own making, laid out as the published data sets are."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.tasks.mmlu_pro import SUBJECTS


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Writes rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def write_hub(root: Path, *, problems: int, questions: int) -> Path:
    """Makes a folder of data sets: word problems, twelve more to draw examples from, and questions of each subject."""
    for split, count in (("test", problems), ("train", 12)):
        rows: list[dict[str, Any]] = [
            {"question": f"{split}: how much is {n} times 1000?", "answer": f"It is <<{n}*1000>>.\n#### {n},000"}
            for n in range(1, count + 1)
        ]
        write_lines(root / "openai" / "gsm8k" / f"{split}.jsonl", rows)
    for split, count in (("test", questions), ("validation", 5)):
        rows = [
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
