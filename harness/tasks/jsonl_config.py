"""What a benchmark of one's own says in its YAML file."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.api import EndpointType
from harness.scoring.normalize import Normalization
from harness.strict import StrictModel, nearest
from harness.tasks.template import Template

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _pattern(value: Any) -> Any:
    if isinstance(value, str):
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression: {error}") from None
    return value


class ExactConfig(StrictModel):
    """Right if the answer is the target, but for what does not count."""

    type: Literal["exact"] = "exact"
    extract: str | None = None
    ignore_case: bool = True
    ignore_punctuation: bool = False
    ignore_articles: bool = False
    ignore_whitespace: bool = True
    ignore: list[str] = Field(default_factory=list)

    _extract = field_validator("extract")(_pattern)

    @field_validator("ignore")
    @classmethod
    def _patterns(cls, value: list[str]) -> list[str]:
        return [_pattern(each) for each in value]

    def normalization(self) -> Normalization:
        """The same, as a function."""
        return Normalization(
            case=self.ignore_case,
            punctuation=self.ignore_punctuation,
            articles=self.ignore_articles,
            whitespace=self.ignore_whitespace,
            ignore=tuple(map(re.compile, self.ignore)),
        )


class NumericConfig(StrictModel):
    r"""Right if the number is the target's: what `extract` finds, else the last `\boxed{…}`, else the last number."""

    type: Literal["numeric"]
    extract: str | None = None
    tolerance: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    relative_tolerance: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    _extract = field_validator("extract")(_pattern)


class RegexConfig(StrictModel):
    """Right if `pattern` matches, and its group is the target where `compare` is true."""

    type: Literal["regex"]
    pattern: str
    which: Literal["first", "last"] = "last"
    compare: bool = True
    ignore_case: bool = True

    _pattern = field_validator("pattern")(_pattern)


class MultipleChoiceConfig(StrictModel):
    """Right if the chosen letter is the target's. `choices` names the column with the options."""

    type: Literal["multiple_choice"]
    choices: str = "choices"
    extract: str | None = None

    _extract = field_validator("extract")(_pattern)


class JudgeConfig(StrictModel):
    """Another model grades: `verdict` finds what it says, `scores` what that is worth."""

    type: Literal["llm_judge"]
    prompt: str
    system: str | None = None
    verdict: str = r"\b(CORRECT|INCORRECT)\b"
    scores: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={"CORRECT": 1.0, "INCORRECT": 0.0}, min_length=1
    )

    _verdict = field_validator("verdict")(_pattern)

    @field_validator("prompt", "system")
    @classmethod
    def _template(cls, value: str | None) -> str | None:
        return value if value is None else Template(value).text


GradingConfig = Annotated[
    ExactConfig | NumericConfig | RegexConfig | MultipleChoiceConfig | JudgeConfig, Field(discriminator="type")
]


class Message(StrictModel):
    """One message of a conversation; `content` is a template."""

    role: Literal["system", "user", "assistant"]
    content: str

    @field_validator("content")
    @classmethod
    def _template(cls, value: str) -> str:
        return Template(value).text


class FewShotConfig(StrictModel):
    """Examples before the question: the first `count` rows of `data`, or a random draw with a `seed`.

    `answer` is the template of what the assistant says in them; `target` in it is the right answer. Without `data`,
    the rows are the benchmark's own, and no question is its own example.
    """

    count: int = Field(ge=1)
    data: Path | None = None
    answer: str = "{{ target }}"
    seed: int | None = None

    @field_validator("answer")
    @classmethod
    def _template(cls, value: str) -> str:
        return Template(value).text


class GenerationConfig(StrictModel):
    """What is sent with every request; null leaves it out. Parameters of a run (`config.params`) win."""

    max_tokens: int | None = Field(default=1024, ge=1)
    temperature: float | None = Field(default=0.0, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    stop: list[str] | None = None
    seed: int | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class BenchmarkConfig(StrictModel):
    """A benchmark. Exactly one of `prompt` and `messages` says what is asked; `target` is the right answer's template.

    `data` is relative to the YAML file. `id` and `group` name columns. `repeats` asks every sample that often;
    `pass_at` then adds the metric pass@k for each k.
    """

    name: str | None = None
    description: str = ""
    license: str | None = None
    data: Path
    prompt: str | None = None
    messages: list[Message] | None = Field(default=None, min_length=1)
    system: str | None = None
    target: str = "{{ target }}"
    id: str | None = None
    group: str | None = None
    few_shot: FewShotConfig | None = None
    generation: GenerationConfig = Field(default_factory=GenerationConfig)
    grading: GradingConfig = Field(default_factory=ExactConfig)
    endpoint_types: list[EndpointType] | None = Field(default=None, min_length=1)
    repeats: int = Field(default=1, ge=1)
    pass_at: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)

    @field_validator("prompt", "system", "target")
    @classmethod
    def _template(cls, value: str | None) -> str | None:
        return value if value is None else Template(value).text

    @field_validator("name")
    @classmethod
    def _usable_name(cls, value: str | None) -> str | None:
        if value is not None and not _NAME.fullmatch(value):
            raise ValueError(f"name {value!r} may have letters, digits, '.', '_' and '-' only: files are named by it")
        return value

    @field_validator("grading", mode="before")
    @classmethod
    def _bare_grading(cls, value: Any) -> Any:
        kind = value if isinstance(value, str) else value.get("type", "exact") if isinstance(value, Mapping) else None
        if kind is None:
            return value
        _known("grading", str(kind), {"exact", "numeric", "regex", "multiple_choice", "llm_judge"})
        return {**(value if isinstance(value, Mapping) else {}), "type": kind}

    @model_validator(mode="after")
    def _consistent(self) -> "BenchmarkConfig":
        if (self.prompt is None) == (self.messages is None):
            both = "both are there" if self.prompt else "neither is"
            raise ValueError(f"a benchmark has either a prompt or messages, but {both}")
        if self.system is not None and self.messages is not None:
            raise ValueError("system goes with prompt; among messages, give one of the role 'system'")
        if self.messages is not None and self.messages[-1].role != "user":
            raise ValueError(
                f"the last of the messages is the question, of role 'user', not {self.messages[-1].role!r}"
            )
        able = {EndpointType.CHAT} if self.messages else {EndpointType.CHAT, EndpointType.COMPLETIONS}
        for kind in self.endpoint_types or ():
            if kind not in able:
                raise ValueError(
                    f"endpoint_types has {kind.value!r}; this benchmark can be asked by {', '.join(sorted(able))}"
                )
        self._check_repeats()
        return self

    def kinds(self) -> frozenset[EndpointType]:
        """The endpoints it can be asked at: those given, else chat, and completions too if there is a prompt."""
        if self.endpoint_types is not None:
            return frozenset(self.endpoint_types)
        return frozenset({EndpointType.CHAT, *([] if self.messages else [EndpointType.COMPLETIONS])})

    def _check_repeats(self) -> None:
        for k in self.pass_at:
            if k > self.repeats:
                raise ValueError(f"pass_at {k} needs at least {k} repeats; there are {self.repeats}")
        if self.repeats > 1 and self.generation.temperature == 0:
            raise ValueError(
                f"repeats {self.repeats} at temperature 0 asks the same question for the same answer; "
                "set generation.temperature above 0, or leave repeats out"
            )


def _known(field: str, value: str, valid: set[str]) -> None:
    if value not in valid:
        raise ValueError(f"unknown {field} {value!r}{nearest(value, valid)}")
