"""A few dozen very easy questions of the project's own: shows that the whole chain works, ranks no model."""

import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.api import EndpointType
from harness.strict import StrictModel
from harness.tasks.base import NOTHING, Grade, Sample, Task
from harness.tasks.options import options

_DATA = Path(__file__).with_name("smoke.jsonl")
_MAX_TOKENS = 24
_WORD = re.compile(r"\w+")

# A base model needs to be shown the form; a chat model does better without examples.
_EXAMPLES = """\
Question: What is 1 plus 1?
Answer: 2

Question: What is the capital of Norway?
Answer: Oslo

Question: Is ice cold? Answer yes or no.
Answer: yes

"""


class SmokeOptions(StrictModel):
    """It takes none."""


class SmokeTask(Task):
    """Chat: one user message, "Question: …", "Answer:". Completions: the same after three examples, up to a line end.

    Grading looks at the first line that is not empty, as casefolded words without punctuation. The answer is right if
    an accepted answer occurs there as a sequence of whole words; a yes-or-no question if the first word is right.
    """

    name = "smoke"
    description = "a smoke test, not a benchmark: 48 very easy questions (arithmetic, capitals, opposites, counting, …)"
    score_name = "accuracy"
    endpoint_types = frozenset({EndpointType.CHAT, EndpointType.COMPLETIONS})

    def __init__(self, extra: Mapping[str, Any] = NOTHING) -> None:
        options(SmokeOptions, self.name, extra)

    def samples(self) -> list[Sample]:
        rows = [json.loads(line) for line in _DATA.read_text(encoding="utf-8").splitlines()]
        return [Sample(row["id"], row["question"], tuple(row["accepted"]), row["group"]) for row in rows]

    def request(self, sample: Sample, kind: EndpointType) -> dict[str, Any]:
        prompt = f"Question: {sample.query}\nAnswer:"
        sampling = {"max_tokens": _MAX_TOKENS, "temperature": 0}
        if kind is EndpointType.COMPLETIONS:
            return {"prompt": _EXAMPLES + prompt, **sampling, "stop": ["\n"]}
        return {"messages": [{"role": "user", "content": prompt}], **sampling}

    def grade(self, sample: Sample, text: str) -> Grade:
        answer = next((line.strip() for line in text.splitlines() if line.strip()), "")
        said = _words(answer)
        if sample.group == "yes-no":
            said = said[:1]
        right = any(_contains(said, _words(accepted)) for accepted in sample.accepted)
        return Grade(answer, float(right), unparsed=() if answer else (self.score_name,))


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _contains(words: list[str], part: list[str]) -> bool:
    return any(words[start : start + len(part)] == part for start in range(len(words) - len(part) + 1))
