"""A model that draws its answers: sums, right at a known rate, and no two answers to a question are the same text."""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import Any

RIGHT = 0.6
"""How often an answer is right."""
QUESTIONS = {f"What is {number} + {7 * number % 23}?": number + 7 * number % 23 for number in range(11, 21)}
"""The tasks' questions, and what is right."""

_SUM = re.compile(r"What is \d+ \+ \d+\?")

Samples = dict[str, list[str]]
"""Answers by question, in the order in which the harness has them."""


class Draws:
    """The k-th answer to a question is the same for every `Draws`; use it as the `answer` of a ModelServer."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()

    def __call__(self, body: dict[str, Any], choice: int, call: int) -> str:
        found = _SUM.findall(str(body["messages"][-1]["content"]))
        question = found[-1]
        number = self._asked[question]
        self._asked[question] += 1
        drawn = random.Random(f"{question} {number}")
        wrong = 0 if drawn.random() < RIGHT else drawn.randint(1, 3)
        return f"{QUESTIONS[question] + wrong} (draw {number})"


def multisets(samples: Samples) -> dict[str, list[str]]:
    """Return the samples without their order."""
    return {question: sorted(texts) for question, texts in samples.items()}


def are_distinct(samples: Samples) -> bool:
    """Return whether no sample was had twice."""
    return all(len(set(texts)) == len(texts) for texts in samples.values())


def shared(one: Samples, other: Samples) -> int:
    """Return how many samples both have."""
    return sum(len(set(one[question]) & set(other[question])) for question in one)
