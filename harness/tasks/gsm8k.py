"""GSM8K: grade-school word problems, whose answer is a number (Cobbe et al. 2021, arXiv:2110.14168).

The authors publish data and no prompt; prompt, examples and both extractions are those of lm-evaluation-harness
(task `gsm8k`, version 3.0), so that scores compare: 5 examples from the training split, drawn for each question with
lm-eval's default seed, each with the authors' own solution.
"""

import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.api import EndpointType
from harness.errors import ConfigurationError
from harness.scoring.extract import found
from harness.scoring.normalize import Normalization
from harness.strict import StrictModel
from harness.tasks.base import DataFacts, Grade, Sample, Task
from harness.tasks.data import DataSet
from harness.tasks.options import options

STRICT, FLEXIBLE = "exact_match,strict-match", "exact_match,flexible-extract"
_MAX_TOKENS = 1024
_STOP = ["Question:", "</s>", "<|im_end|>"]
_SEED = 1234
# lm-eval's filters: what follows the first "#### ", and the last thing that looks like a number.
_EXTRACTIONS = {
    STRICT: (re.compile(r"#### (-?[0-9.,]+)"), False),
    FLEXIBLE: (re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)"), True),
}
# lm-eval's metric: case and these do not count.
_SAME = Normalization(
    unicode=False,
    whitespace=False,
    ignore=tuple(map(re.compile, (",", r"\$", r"(?s).*#### ", r"\.$"))),
)

DATA = DataSet(
    name="openai/gsm8k",
    config="main",
    revision="cc7b047b6e5bb11b4f1af84efc572db110a51b3c",
    license="MIT",
    fields=frozenset({"question", "answer"}),
    known={
        "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14": "openai/grade-school-math@3101c7d",
        "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465": "openai/grade-school-math@3101c7d",
    },
)


class Gsm8kOptions(StrictModel):
    """`data_dir` holds `openai/gsm8k/{test,train}.jsonl`; `num_fewshot` examples come before the question."""

    data_dir: Path | None = None
    num_fewshot: int = Field(default=5, ge=0, le=32)


class Gsm8k(Task):
    """Chat: examples as turns of user and assistant, as lm-eval sends them. Completions: one text."""

    name = "gsm8k"
    description = "grade-school math word problems, 5 examples with solutions; 1319 samples"
    score_name = STRICT
    endpoint_types = frozenset({EndpointType.CHAT, EndpointType.COMPLETIONS})
    dataset = DATA.name
    license = DATA.license

    def __init__(self, extra: Mapping[str, Any]) -> None:
        self._options = options(Gsm8kOptions, self.name, extra)
        self._data: tuple[DataFacts, ...] = ()

    def samples(self) -> list[Sample]:
        directory, shots = self._options.data_dir, self._options.num_fewshot
        test = DATA.split("test", directory)
        examples: list[Mapping[str, Any]] = []
        self._data = (test.facts,)
        if shots:
            train = DATA.split("train", directory)
            examples, self._data = train.rows, (test.facts, train.facts)
            if len(examples) < shots:
                raise ConfigurationError(
                    f"{train.facts.origin} has {len(examples)} rows, fewer than num_fewshot {shots}"
                )
        draw = random.Random(_SEED)  # noqa: S311 - the draws of lm-eval
        return [
            Sample(
                id=f"gsm8k-{number:04d}",
                query=row["question"],
                accepted=(row["answer"].rpartition("#### ")[2],),
                group="",
                fields={"answer": row["answer"], "examples": draw.sample(examples, shots)},
            )
            for number, row in enumerate(test.rows)
        ]

    def data(self) -> tuple[DataFacts, ...]:
        return self._data

    def request(self, sample: Sample, kind: EndpointType) -> dict[str, Any]:
        sampling = {"max_tokens": _MAX_TOKENS, "temperature": 0, "stop": _STOP}
        examples = [(_asked(row["question"]), row["answer"]) for row in sample.fields["examples"]]
        if kind is EndpointType.COMPLETIONS:
            shown = "".join(f"{asked} {answer}\n\n" for asked, answer in examples)
            return {"prompt": shown + _asked(sample.query), **sampling}
        turns = [
            {"role": role, "content": text}
            for pair in examples
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
        return {"messages": [*turns, {"role": "user", "content": _asked(sample.query)}], **sampling}

    def grade(self, sample: Sample, text: str) -> Grade:
        read = {name: found(pattern, text, last=last) for name, (pattern, last) in _EXTRACTIONS.items()}
        right = _SAME(sample.fields["answer"])
        scores = {name: float(said is not None and _SAME(said) == right) for name, said in read.items()}
        return Grade(
            answer=read[STRICT] or read[FLEXIBLE] or "",
            score=scores.pop(STRICT),
            scores=scores,
            unparsed=tuple(name for name, said in read.items() if said is None),
        )


def _asked(question: str) -> str:
    return f"Question: {question}\nAnswer:"
