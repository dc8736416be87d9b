"""What may have spoilt a score: counted over a task's samples and what its sidecar saw, in plain words."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.errors import ConfigurationError
from harness.strict import nearest

Row = Mapping[str, Any]
"""One record of `samples.jsonl`."""

_EXAMPLES = 5
_FEWEST = 10
"""Answers before it means something that they are the same."""
_SAME = 0.5
"""Share of equal generations above which it is told."""
_OPENINGS = {"<think>": "</think>", "<thinking>": "</thinking>", "<reasoning>": "</reasoning>"}


@dataclass(frozen=True, slots=True)
class Finding:
    """`count` of `of` things are affected; `examples` are ids of samples."""

    finding: str
    count: int
    of: int
    text: str
    examples: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """How much of all is affected, from 0 to 1; 0 where it is not known of how many."""
        return self.count / self.of if self.of else 0.0

    def document(self) -> dict[str, Any]:
        """The finding as JSON, its share included."""
        return {**asdict(self), "share": round(self.share, 6), "examples": list(self.examples)}


@dataclass(frozen=True, slots=True)
class _Check:
    """One thing that is looked for in every sample. `text` follows "N of M samples"."""

    holds: Callable[[Row], bool]
    text: str
    answered: bool = True
    """Whether it is looked for among the answered samples alone."""


def _text(row: Row) -> str:
    return str(row.get("generation") or "")


def _unclosed(row: Row) -> bool:
    text = _text(row)
    return any(text.rfind(opening) > text.rfind(closing) for opening, closing in _OPENINGS.items())


def _limited(row: Row) -> bool:
    return str(row.get("error") or "").startswith("HTTP 429")


_CHECKS = {
    "failed": _Check(lambda row: row.get("error") is not None, "got no answer, and count in no metric", answered=False),
    "rate_limited": _Check(
        _limited,
        "were refused with 429 to the end; lower the parallelism, or add the interceptor retry",
        answered=False,
    ),
    "retried": _Check(
        lambda row: int(row.get("attempts") or 1) > 1,
        "were asked more than once, after transport errors",
        answered=False,
    ),
    "truncated": _Check(
        lambda row: row.get("finish_reason") == "length",
        "ended at the limit of tokens and may be cut before the answer; raise max_new_tokens",
    ),
    "filtered": _Check(lambda row: row.get("finish_reason") == "content_filter", "were ended by a content filter"),
    "empty": _Check(lambda row: not _text(row).strip(), "have an empty answer"),
    "unclosed_reasoning": _Check(
        _unclosed, "began to reason and never ended; raise max_new_tokens, or see the interceptor reasoning"
    ),
    "unparsed": _Check(
        lambda row: row.get("score_name") in (row.get("unparsed") or ()),
        "hold no answer that could be read; they score 0",
    ),
}
NAMES = (*_CHECKS, "identical", "changed", "upstream_rate_limited", "upstream_retries")
"""Every finding of this module; one that the sidecar tells is `sidecar:` and its name there."""
_SIDECAR = "sidecar:"


def of_samples(rows: Sequence[Row]) -> list[Finding]:
    """What the samples of one task show, the most frequent first."""
    answered = [row for row in rows if row.get("error") is None]
    found = []
    for name, check in _CHECKS.items():
        among = answered if check.answered else rows
        hit = [row for row in among if check.holds(row)]
        if hit:
            text = f"{_of(len(hit), len(among))} samples {check.text}."
            found.append(Finding(name, len(hit), len(among), text, _ids(hit)))
    found += _identical(answered)
    return sorted(found, key=lambda each: -each.share)


def _identical(answered: Sequence[Row]) -> list[Finding]:
    if len(answered) < _FEWEST:
        return []
    (text, count), *_ = Counter(_text(row).strip() for row in answered).most_common(1)
    if not text or count / len(answered) <= _SAME:
        return []
    same = [row for row in answered if _text(row).strip() == text]
    said = (
        f"{_of(count, len(answered))} samples have the very same answer, {_short(text)!r}: the prompt may not arrive."
    )
    return [Finding("identical", count, len(answered), said, _ids(same))]


def of_sidecar(summary: Mapping[str, Any]) -> list[Finding]:
    """What the sidecar counted: `summary` is its `GET /-/runs/{run}`."""
    statistics = summary.get("statistics") or {}
    live = int(statistics.get("count") or 0)
    limited = int((statistics.get("status_codes") or {}).get("429", 0))
    retries = int(statistics.get("retries") or 0)
    found = []
    if limited:
        text = f"{_of(limited, live)} answers of the model server were 429; the run was slowed, or samples failed."
        found.append(Finding("upstream_rate_limited", limited, live, text))
    if retries:
        text = f"{retries:,} requests were repeated by the interceptor retry."
        found.append(Finding("upstream_retries", retries, live, text))
    found += [_changed(change) for change in summary.get("changes") or () if change["on"] == "request"]
    found += [
        Finding(_SIDECAR + told["finding"], int(told.get("count", 0)), int(told.get("of", 0)), told["text"])
        for told in summary.get("findings") or ()
    ]
    return found


def _changed(change: Mapping[str, Any]) -> Finding:
    why = "" if change["why"] == "configured" else f": {change['why']}"
    count, of = int(change["requests"]), int(change["of"])
    text = f"{_of(count, of)} requests had {change['field']} {change['what']} by {change['interceptor']}{why}."
    return Finding("changed", count, of, text)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The share of samples from which a finding fails a run, by its name."""

    shares: Mapping[str, float]

    @classmethod
    def read(cls, texts: Iterable[str]) -> "Thresholds":
        """From texts like `truncated=0.05`. Raises ConfigurationError for an unknown one or no share."""
        shares = {}
        for text in texts:
            name, equals, number = text.partition("=")
            if name not in NAMES and not name.startswith(_SIDECAR):
                raise ConfigurationError(f"unknown finding {name!r} in {text!r}{nearest(name, NAMES)}")
            shares[name] = _share(text, number) if equals else 0.0
        return cls(shares)

    def exceeded(self, findings: Iterable[Finding]) -> list[str]:
        """A sentence for each finding whose share is above its threshold, or has none: it is not known of how many."""
        named = [each for each in findings if each.finding in self.shares]
        shared = [
            f"{each.finding} is {each.share:.1%}, above the {self.shares[each.finding]:.1%} allowed: {each.text}"
            for each in named
            if each.of and each.share > self.shares[each.finding]
        ]
        return shared + [f"{each.finding} was found: {each.text}" for each in named if not each.of and each.count]


def _share(text: str, number: str) -> float:
    if re.fullmatch(r"0(\.\d+)?|1(\.0+)?", number) is None:
        raise ConfigurationError(f"{number!r} in {text!r} is no share from 0 to 1, such as 0.05")
    return float(number)


def _of(count: int, of: int) -> str:
    return f"{count:,} of {of:,}"


def _ids(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(str(row["id"]) for row in rows[:_EXAMPLES])


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


NOTHING_FAILS = Thresholds({})
