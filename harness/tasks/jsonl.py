"""A benchmark of one's own: a YAML file, and a file of rows."""

import random
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from harness.api import EndpointType
from harness.errors import ConfigurationError, explain
from harness.strict import StrictModel
from harness.tasks.base import Ask, DataFacts, Grade, Messages, Sample, Task
from harness.tasks.grading import Judge, Row, Verdict, grader
from harness.tasks.jsonl_config import BenchmarkConfig, FewShotConfig, JudgeConfig
from harness.tasks.options import options
from harness.tasks.rows import read_rows
from harness.tasks.template import Template

_COLUMN = re.compile(r"\{\{\s*(\w+)\s*\}\}")


class JsonlOptions(StrictModel):
    """It takes none: all of it is in the YAML file."""


def load_task(path: Path, extra: Mapping[str, Any]) -> Task:
    """The benchmark that a YAML file describes. Raises ConfigurationError that names file, field and value."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"the task file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the task file {path} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(
            f"the task file {path} holds no mapping: it begins with keys like `data:` and `prompt:`"
        )
    try:
        config = BenchmarkConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(f"the task file {path}: {explain(error)}") from None
    options(JsonlOptions, config.name or path.stem, extra)
    return JudgedJsonlTask(config, path) if isinstance(config.grading, JudgeConfig) else JsonlTask(config, path)


class JsonlTask(Task):
    """Rows, templates and a grading, as the YAML file has them."""

    def __init__(self, config: BenchmarkConfig, path: Path) -> None:
        self.name = config.name or path.stem
        self.description = config.description or f"the benchmark in {path}"
        self.score_name = config.grading.type
        self.endpoint_types = config.kinds()
        self.repeats = config.repeats
        self.pass_at = tuple(config.pass_at)
        self.needs = ("judge",) if isinstance(config.grading, JudgeConfig) else ()
        self.dataset = str(path.parent / config.data)
        self.license = config.license or "unknown"
        self._config = config
        self._folder = path.parent
        self._grader = grader(config.grading)
        self._target = Template(config.target)
        self._before, self._question = _conversation(config)
        self._shown = Template(config.few_shot.answer if config.few_shot else "")
        self._data: tuple[DataFacts, ...] = ()

    def samples(self) -> list[Sample]:
        read = read_rows(self._folder / self._config.data)
        self._data = (read.facts,)
        examples = self._examples(read.rows)
        found: dict[str, Sample] = {}
        for number, row in enumerate(read.rows):
            try:
                sample = self._sample(number, row, next(examples))
            except ConfigurationError:  # a ValueError too, but not of this row
                raise
            except ValueError as error:
                raise ConfigurationError(f"task {self.name!r}, {read.facts.origin}, row {number}: {error}") from error
            if sample.id in found:
                raise ConfigurationError(f"task {self.name!r}: two rows have the id {sample.id!r}")
            found[sample.id] = sample
        return list(found.values())

    def data(self) -> tuple[DataFacts, ...]:
        return self._data

    def request(self, sample: Sample, kind: EndpointType) -> dict[str, Any]:
        generation = self._config.generation.model_dump(exclude={"extra"}, exclude_none=True)
        generation |= self._config.generation.extra
        turns: Messages = [*sample.fields["turns"]]
        if kind is EndpointType.CHAT:
            return {"messages": turns, **generation}
        return {"prompt": _as_text(turns), **generation}

    def grade(self, sample: Sample, text: str) -> Grade:
        return self._graded(self._grader(sample.fields["row"], sample.accepted, text))

    def _graded(self, verdict: Verdict) -> Grade:
        unparsed = (self.score_name,) if verdict.answer is None else ()
        return Grade(verdict.answer or "", verdict.score, unparsed=unparsed)

    def _sample(self, number: int, row: Row, shown: Messages) -> Sample:
        config = self._config
        turns = self._turns(row, shown)
        accepted = self._grader.accepted(row, self._targets(row))
        found = f"{self.name}-{number:05d}" if config.id is None else str(_cell(row, config.id))
        group = "" if config.group is None else str(_cell(row, config.group))
        return Sample(found, turns[-1]["content"], accepted, group, {"row": row, "turns": turns})

    def _targets(self, row: Row) -> list[Any]:
        """A column that is named alone counts as it is: its list is several right answers, its number a number."""
        column = _COLUMN.fullmatch(self._config.target.strip())
        if column and column[1] in row:
            value = row[column[1]]
            values = value if isinstance(value, list) else [value]
            return [each for each in values if each is not None]
        text = self._target.render(row)
        return [text] if text else []

    def _turns(self, row: Row, shown: Messages) -> Messages:
        before = [_said(role, template, row) for role, template in self._before]
        return [*before, *shown, _said("user", self._question, row)]

    def _examples(self, rows: list[Row]) -> Iterator[Messages]:
        """The examples before each row's question, as turns."""
        few = self._config.few_shot
        if few is None:
            while True:
                yield []
        pool = rows
        if few.data is not None:
            read = read_rows(self._folder / few.data)
            pool = read.rows
            self._data += (read.facts,)
        needed = few.count + (few.data is None)
        if len(pool) < needed:
            raise ConfigurationError(
                f"task {self.name!r}: few_shot.count {few.count} needs {needed} rows; there are {len(pool)}"
            )
        example = cache(lambda place: self._example(pool[place]))
        for places in _drawn(len(pool), few, len(rows)):
            yield [turn for place in places for turn in example(place)]

    def _example(self, row: Row) -> Messages:
        target = next(map(str, self._targets(row)), "")
        return [_said("user", self._question, row), _said("assistant", self._shown, {**row, "target": target})]


class JudgedJsonlTask(JsonlTask):
    """The same, graded by another model."""

    def __init__(self, config: BenchmarkConfig, path: Path) -> None:
        super().__init__(config, path)
        assert isinstance(config.grading, JudgeConfig)  # as load_task chose it for
        self._judge = Judge(config.grading)

    async def judge(self, sample: Sample, text: str, ask: Ask) -> Grade:
        target = ", ".join(sample.accepted)
        return self._graded(
            await self._judge(self._judge.messages(sample.fields["row"], sample.query, target, text), ask)
        )

    def _sample(self, number: int, row: Row, shown: Messages) -> Sample:
        sample = super()._sample(number, row, shown)
        self._judge.messages(row, sample.query, ", ".join(sample.accepted), "")  # a template that fails is told now
        return sample


def _drawn(size: int, few: FewShotConfig, count: int) -> Iterator[list[int]]:
    """The first ones or a draw for each of `count` rows. One more is taken where a row may be its own example."""
    draw = None if few.seed is None else random.Random(few.seed)  # noqa: S311 - reproducible on purpose
    own = few.data is None
    taken = few.count + own
    for number in range(count):
        places = range(taken) if draw is None else draw.sample(range(size), taken)
        yield [place for place in places if not (own and place == number)][: few.count]


def _conversation(config: BenchmarkConfig) -> tuple[list[tuple[str, Template]], Template]:
    """What comes before the question, by role, and the question."""
    if config.messages is None:
        assert config.prompt is not None  # a benchmark has one of the two
        system = [] if config.system is None else [("system", Template(config.system))]
        return system, Template(config.prompt)
    *before, last = config.messages
    return [(message.role, Template(message.content)) for message in before], Template(last.content)


def _said(role: str, template: Template, row: Row) -> dict[str, str]:
    return {"role": role, "content": template.render(row)}


def _cell(row: Row, column: str) -> Any:
    if column not in row:
        raise ValueError(f"there is no column {column!r}; the row has: {', '.join(sorted(row))}")
    return row[column]


def _as_text(turns: Messages) -> str:
    """Turns as one text: a blank line after each but between question and answer a blank, where none is there."""
    parts = []
    for turn, following in zip(turns, [*turns[1:], None], strict=True):
        text = turn["content"]
        parts.append(text)
        if following is None:
            continue
        if turn["role"] != "user":
            parts.append("\n\n")
        elif text and not text[-1].isspace():
            parts.append(" ")
    return "".join(parts)
