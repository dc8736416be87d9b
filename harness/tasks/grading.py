"""The gradings of a benchmark of one's own: what is read out of a generation, and whether it is right."""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

from harness.scoring.extract import boxed, found, last_number, letter
from harness.scoring.normalize import Normalization
from harness.scoring.numeric import close, parse_number
from harness.tasks.base import Ask, Messages
from harness.tasks.jsonl_config import (
    ExactConfig,
    GradingConfig,
    JudgeConfig,
    MultipleChoiceConfig,
    NumericConfig,
    RegexConfig,
)
from harness.tasks.template import Template

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Row = Mapping[str, Any]


class Verdict(NamedTuple):
    """`answer` is what was read; None where nothing could be."""

    answer: str | None
    score: float


class Grader(Protocol):
    """One way to grade."""

    def accepted(self, row: Row, targets: Sequence[Any]) -> tuple[str, ...]:
        """The right answers as they are compared. Raises ValueError if a target cannot be one."""
        ...

    def __call__(self, row: Row, accepted: Sequence[str], text: str) -> Verdict:
        """The verdict on a generation."""
        ...


def grader(config: GradingConfig) -> Grader:
    """What grades as `config` says; a judge's part is `Judge`."""
    if isinstance(config, ExactConfig):
        return Exact(config)
    if isinstance(config, NumericConfig):
        return Numeric(config)
    if isinstance(config, RegexConfig):
        return Regex(config)
    if isinstance(config, MultipleChoiceConfig):
        return MultipleChoice(config)
    return Unjudged()


class Exact:
    """Equality, but for what does not count."""

    def __init__(self, config: ExactConfig) -> None:
        self._same = config.normalization()
        self._extract = config.extract and re.compile(config.extract)

    def accepted(self, row: Row, targets: Sequence[Any]) -> tuple[str, ...]:
        return _texts(targets)

    def __call__(self, row: Row, accepted: Sequence[str], text: str) -> Verdict:
        said = found(self._extract, text, last=True) if self._extract else text.strip() or None
        right = said is not None and self._same(said) in map(self._same, accepted)
        return Verdict(said, float(right))


class Numeric:
    """Numbers, within a tolerance."""

    def __init__(self, config: NumericConfig) -> None:
        self._config = config
        self._extract = config.extract and re.compile(config.extract)

    def accepted(self, row: Row, targets: Sequence[Any]) -> tuple[str, ...]:
        for each in (texts := _texts(targets)):
            if parse_number(each) is None:
                raise ValueError(f"the target {each!r} is no number, but grading is numeric")
        return texts

    def __call__(self, row: Row, accepted: Sequence[str], text: str) -> Verdict:
        said, number = self._read(text)
        if number is None:
            return Verdict(None, 0.0)
        tolerances = {"absolute": self._config.tolerance, "relative": self._config.relative_tolerance}
        targets = [target for each in accepted if (target := parse_number(each)) is not None]
        return Verdict(said, float(any(close(number, target, **tolerances) for target in targets)))

    def _read(self, text: str) -> tuple[str | None, Fraction | None]:
        tries = [found(self._extract, text, last=True)] if self._extract else [text, boxed(text), last_number(text)]
        numbers = [(said.strip(), parse_number(said)) for said in tries if said is not None]
        return next(((said, number) for said, number in numbers if number is not None), (None, None))


class Regex:
    """A pattern, alone or compared with the target."""

    def __init__(self, config: RegexConfig) -> None:
        flags = re.IGNORECASE if config.ignore_case else re.NOFLAG
        self._pattern = re.compile(config.pattern, flags)
        self._last = config.which == "last"
        self._compare = config.compare
        self._same = Normalization(case=config.ignore_case)

    def accepted(self, row: Row, targets: Sequence[Any]) -> tuple[str, ...]:
        return _texts(targets) if self._compare else tuple(map(str, targets))

    def __call__(self, row: Row, accepted: Sequence[str], text: str) -> Verdict:
        said = found(self._pattern, text, last=self._last)
        if said is None:
            return Verdict(None, 0.0)
        right = not self._compare or self._same(said) in map(self._same, accepted)
        return Verdict(said, float(right))


class MultipleChoice:
    """Letters. A target is a letter, the number of an option from 0, or an option's text."""

    def __init__(self, config: MultipleChoiceConfig) -> None:
        self._column = config.choices
        self._extract = config.extract and re.compile(config.extract)

    def accepted(self, row: Row, targets: Sequence[Any]) -> tuple[str, ...]:
        options = self._options(row)
        letters = _LETTERS[: len(options)]
        if not targets:
            raise ValueError("there is no target")
        found_letters = []
        for target in targets:
            if isinstance(target, int) and 0 <= target < len(options):
                found_letters.append(letters[target])
            elif str(target).strip().upper() in [*letters]:
                found_letters.append(str(target).strip().upper())
            elif str(target) in options:
                found_letters.append(letters[options.index(str(target))])
            else:
                raise ValueError(f"the target {target!r} is no letter, number or text of the {len(options)} options")
        return tuple(found_letters)

    def __call__(self, row: Row, accepted: Sequence[str], text: str) -> Verdict:
        options = self._options(row)
        letters = _LETTERS[: len(options)]
        if self._extract:
            said = (found(self._extract, text, last=True) or "").upper()
            said_letter = said if said and said in letters else None
        else:
            whole = text.strip()
            said_letter = letter(text, letters) or (letters[options.index(whole)] if whole in options else None)
        return Verdict(said_letter, float(said_letter in accepted))

    def _options(self, row: Row) -> list[str]:
        options = row.get(self._column)
        if not isinstance(options, list) or not 2 <= len(options) <= len(_LETTERS):
            raise ValueError(f"the column {self._column!r} is no list of 2 to {len(_LETTERS)} options: {options!r}")
        return [str(option) for option in options]


class Unjudged:
    """Of a benchmark that a judge grades: any target will do, and nothing is graded without it."""

    def accepted(self, row: Row, targets: Sequence[Any]) -> tuple[str, ...]:
        return tuple(map(str, targets))

    def __call__(self, row: Row, accepted: Sequence[str], text: str) -> Verdict:
        return Verdict(None, 0.0)


class Judge:
    """Asks another model. Its prompt sees the row and `question`, `answer` and `target`."""

    def __init__(self, config: JudgeConfig) -> None:
        self._prompt = Template(config.prompt)
        self._system = config.system and Template(config.system)
        self._verdict = re.compile(config.verdict, re.IGNORECASE)
        self._scores = {name.casefold(): (name, score) for name, score in config.scores.items()}

    def messages(self, row: Row, question: str, target: str, answer: str) -> Messages:
        """What the judge is asked. Raises ValueError if a template does not fit the row."""
        values = {**row, "question": question, "target": target, "answer": answer}
        asked = [{"role": "user", "content": self._prompt.render(values)}]
        return [{"role": "system", "content": self._system.render(values)}, *asked] if self._system else asked

    async def __call__(self, messages: Messages, ask: Ask) -> Verdict:
        """The last verdict in what the judge says; None if there is none, or one that has no score."""
        said = found(self._verdict, await ask(messages), last=True)
        name, score = self._scores.get((said or "").casefold(), (None, 0.0))
        return Verdict(name, score)


def _texts(targets: Sequence[Any]) -> tuple[str, ...]:
    texts = tuple(str(target).strip() for target in targets)
    if not texts or not all(texts):
        raise ValueError("there is no target, or an empty one")
    return texts
