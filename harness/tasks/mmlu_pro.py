"""MMLU-Pro: multiple choice with up to ten options in 14 subjects (Wang et al. 2024, arXiv:2406.01574).

Prompt and examples (the five of the subject in the validation split, with their chains of thought) are those of the
authors' script for local models (TIGER-AI-Lab/MMLU-Pro, evaluate_from_local.py), the extraction in three steps that of
evaluate_from_api.py, but that an answer that cannot be read counts as wrong: the authors guess. `prompt: lm-eval` asks
as lm-evaluation-harness does (version 3.1 of its task), and its extraction gives the main score in either case.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness.api import EndpointType
from harness.errors import ConfigurationError
from harness.scoring.extract import found
from harness.strict import StrictModel
from harness.tasks.base import DataFacts, Grade, Sample, Task
from harness.tasks.data import DataSet, Row
from harness.tasks.options import options

CUSTOM, FLEXIBLE = "exact_match,custom-extract", "exact_match,flexible-extract"
SUBJECTS = (
    "biology", "business", "chemistry", "computer science", "economics", "engineering", "health", "history", "law",
    "math", "other", "philosophy", "physics", "psychology",
)  # fmt: skip
_LETTERS = "ABCDEFGHIJ"
_MAX_TOKENS = 2048
_STOP = ["Question:"]
_INSTRUCTION = (
    "The following are multiple choice questions (with answers) about {}. Think step by step and then finish your "
    'answer with "the answer is (X)" where X is the correct letter choice.\n'
)
_ASKS = "Answer: Let's think step by step."
_TOLD = "A: Let's think step by step."
_CUSTOM = re.compile(r"answer is \(?([A-J])\)?")
_STEPS = ((_CUSTOM, False), (re.compile(r"(?m)^.*[aA]nswer:\s*([A-J])"), False), (re.compile(r"\b[A-J]\b"), True))

DATA = DataSet(
    name="TIGER-Lab/MMLU-Pro",
    config=None,
    revision="527feea0afed1de15a8c115abf7be4c912123315",
    license="Apache-2.0",
    fields=frozenset({"question_id", "question", "options", "answer", "cot_content", "category"}),
    known={
        "6e4c40111f3473d679a2aa925bc22f50bc96d6081eeb6eab9c3ea9fea08423be": "TIGER-AI-Lab/MMLU-Pro@f418b11",
        "3f782e18a87f67fbb47bbefae2e7761a783ffe937179e6f19d4235adacfdfc67": "TIGER-AI-Lab/MMLU-Pro@6a02be7",
    },
)


class MmluProOptions(StrictModel):
    """`data_dir` holds `TIGER-Lab/MMLU-Pro/{test,validation}.jsonl`; `prompt` is whose form of the prompt is sent."""

    data_dir: Path | None = None
    num_fewshot: int = Field(default=5, ge=0, le=5)
    prompt: Literal["authors", "lm-eval"] = "authors"


class MmluPro(Task):
    """All subjects, or one. Completions: one text. Chat: the same text in one message, or, with lm-eval's prompt, a
    system message and the examples as turns.
    """

    description = "multiple choice with up to ten options in 14 subjects, 5 examples; 12032 samples"
    score_name = CUSTOM
    endpoint_types = frozenset({EndpointType.CHAT, EndpointType.COMPLETIONS})
    dataset = DATA.name
    license = DATA.license

    def __init__(self, extra: Mapping[str, Any], subject: str | None = None) -> None:
        self.name = "mmlu_pro" if subject is None else f"mmlu_pro_{subject.replace(' ', '_')}"
        self._subject = subject
        self._options = options(MmluProOptions, self.name, extra)
        self._data: tuple[DataFacts, ...] = ()

    def samples(self) -> list[Sample]:
        directory, shots = self._options.data_dir, self._options.num_fewshot
        test, validation = DATA.split("test", directory), DATA.split("validation", directory)
        self._data = (test.facts, validation.facts)
        examples = {name: [row for row in validation.rows if row["category"] == name][:shots] for name in SUBJECTS}
        rows = [row for row in test.rows if self._subject in {None, row["category"]}]
        for row in rows:
            if len(examples.get(row["category"], ())) < shots:
                raise ConfigurationError(
                    f"{validation.facts.origin} has fewer than {shots} examples of the subject {row['category']!r}; "
                    "get the whole validation split, or set params.extra.num_fewshot"
                )
        return [
            Sample(
                id=f"mmlu_pro-{row['question_id']:05d}",
                query=row["question"],
                accepted=(row["answer"],),
                group=row["category"],
                fields={"row": row, "examples": examples.get(row["category"], [])},
            )
            for row in rows
        ]

    def data(self) -> tuple[DataFacts, ...]:
        return self._data

    def request(self, sample: Sample, kind: EndpointType) -> dict[str, Any]:
        sampling = {"max_tokens": _MAX_TOKENS, "temperature": 0, "stop": _STOP}
        shape = _lm_eval if self._options.prompt == "lm-eval" else _authors
        instruction = _INSTRUCTION.format(sample.group)
        turns = [(shape(row), _thought(row)) for row in sample.fields["examples"]]
        question = shape(sample.fields["row"])
        if kind is EndpointType.CHAT and self._options.prompt == "lm-eval":
            shown = [
                {"role": role, "content": text}
                for turn in turns
                for role, text in zip(("user", "assistant"), turn, strict=True)
            ]
            system = {"role": "system", "content": instruction}
            return {"messages": [system, *shown, {"role": "user", "content": question}], **sampling}
        blank = "\n\n" if self._options.prompt == "authors" else ""  # lines that the authors' script leaves free
        text = instruction + blank + "".join(f"{asked} {told}\n\n" for asked, told in turns) + question
        if kind is EndpointType.COMPLETIONS:
            return {"prompt": text, **sampling}
        return {"messages": [{"role": "user", "content": text}], **sampling}

    def grade(self, sample: Sample, text: str) -> Grade:
        right = sample.accepted[0]
        custom = found(_CUSTOM, text)
        tries = (found(pattern, text, last=last) for pattern, last in _STEPS)
        flexible = next((said for said in tries if said), None)
        read = {CUSTOM: custom, FLEXIBLE: flexible}
        return Grade(
            answer=custom or flexible or "",
            score=float(custom == right),
            scores={FLEXIBLE: float(flexible == right)},
            unparsed=tuple(name for name, said in read.items() if said is None),
        )


def _authors(row: Row) -> str:
    return _block(row["question"], [option for option in row["options"] if option != "N/A"])


def _lm_eval(row: Row) -> str:
    return _block(row["question"], [option.strip() for option in row["options"]])


def _block(question: str, choices: list[str]) -> str:
    lines = [f"{letter}. {option}\n" for letter, option in zip(_LETTERS, choices, strict=False)]
    return f"Question:\n{question}\nOptions:\n{''.join(lines)}{_ASKS}"


def _thought(row: Row) -> str:
    return str(row["cot_content"]).replace(f"{_TOLD} ", "")
