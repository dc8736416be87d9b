"""Whether two runs of a task differ, sample by sample."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import ConfigurationError
from harness.reporting.folder import Ended
from harness.scoring.statistics import Paired, mean, paired

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Flip:
    """A sample that scored differently: `a` and `b` are its scores, `said_a` and `said_b` what was read out."""

    id: str
    a: float
    b: float
    said_a: str | None
    said_b: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """B against A, over the samples that both answered.

    `asked_differently` are those whose request was not the same: their scores compare two questions. `only_a` and
    `only_b` were answered by one of them alone, and `settings` are the configured values that differ: (name, A's, B's).
    """

    metric: str
    mean_a: float
    mean_b: float
    paired: Paired
    flips: list[Flip]
    asked_differently: list[str]
    only_a: list[str]
    only_b: list[str]
    settings: list[tuple[str, Any, Any]]

    def document(self) -> dict[str, Any]:
        """The comparison as JSON."""
        interval = self.paired.interval
        return {
            "metric": self.metric,
            "a": self.mean_a,
            "b": self.mean_b,
            "count": self.paired.samples,
            "difference": self.paired.difference,
            "stderr": self.paired.stderr,
            "interval_95": None if interval is None else list(interval),
            "gained": self.paired.gained,
            "lost": self.paired.lost,
            "mcnemar_p": self.paired.p_value,
            "flips": [
                {"id": flip.id, "a": flip.a, "b": flip.b, "said_a": flip.said_a, "said_b": flip.said_b}
                for flip in self.flips
            ],
            "asked_differently": self.asked_differently,
            "only_a": self.only_a,
            "only_b": self.only_b,
            "settings": [{"setting": name, "a": a, "b": b} for name, a, b in self.settings],
        }


def compare(a: Ended, b: Ended, metric: str | None = None) -> Comparison:
    """B against A in `metric`, by default A's main one. A sample with repeats counts by the mean of its scores.

    Raises ConfigurationError if they are of different tasks, one lacks the metric, or they share no answered sample.
    """
    if a.task != b.task:
        raise ConfigurationError(f"{a.path} is of task {a.task!r} and {b.path} of {b.task!r}; only one task compares")
    metric = metric or _main(a)
    first, second = (_answered(each, metric) for each in (a, b))
    shared = sorted(first.keys() & second.keys())
    if not shared:
        raise ConfigurationError(f"{a.path} and {b.path} share no sample that both answered")
    scores = [(mean(first[name].scores), mean(second[name].scores)) for name in shared]
    return Comparison(
        metric=metric,
        mean_a=mean([one for one, _ in scores]),
        mean_b=mean([other for _, other in scores]),
        paired=paired([one for one, _ in scores], [other for _, other in scores]),
        flips=[
            Flip(name, one, other, first[name].said, second[name].said)
            for name, (one, other) in zip(shared, scores, strict=True)
            if one != other
        ],
        asked_differently=[name for name in shared if first[name].asked != second[name].asked],
        only_a=sorted(first.keys() - second.keys()),
        only_b=sorted(second.keys() - first.keys()),
        settings=list(_settings(a, b)),
    )


@dataclass(slots=True)
class _Sample:
    scores: list[float]
    said: str | None
    asked: list[Any]


def _answered(ended: Ended, metric: str) -> dict[str, _Sample]:
    found: dict[str, _Sample] = {}
    known: dict[str, None] = {}
    for row in ended.rows:
        if row.get("score") is None:
            continue
        known |= dict.fromkeys([row["score_name"], *(row.get("scores") or {})])
        score = row["score"] if metric == row["score_name"] else (row.get("scores") or {}).get(metric)
        if score is None:  # of another task of a harness's group
            continue
        sample = found.setdefault(row["id"], _Sample([], row.get("answer"), []))
        sample.scores.append(float(score))
        sample.asked.append(row.get("request_sha256") or row.get("query"))
    if known and not found:
        raise ConfigurationError(f"{ended.path} has no metric {metric!r}; its samples have: {', '.join(known)}")
    return found


def _main(ended: Ended) -> str:
    """The task's main metric; the samples' own, where another harness calls their scores and the whole differently."""
    named = [row["score_name"] for row in ended.rows if row.get("score") is not None]
    every = {name for row in ended.rows for name in (row.get("scores") or ())} | set(named)
    return ended.score_name if not named or ended.score_name in every else str(named[0])


def _settings(a: Ended, b: Ended) -> Iterable[tuple[str, Any, Any]]:
    """The values of config and target that differ, but for where the files went. The model is the one asked for."""
    one, other = (
        dict(_flat({name: each.results[name] for name in ("config", "target")}))
        | {"target.api_endpoint.model_id": each.model}
        for each in (a, b)
    )
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name) and name != "config.output_dir":
            yield name, one.get(name), other.get(name)


def _flat(value: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _flat(item, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, value


def in_words(found: Comparison, names: Sequence[str] = ("A", "B")) -> list[str]:
    """The comparison as lines of text."""
    a, b = names
    pair = found.paired
    reach = "" if pair.interval is None else f" (95 % interval {pair.interval.low:+.4f} to {pair.interval.high:+.4f})"
    lines = [
        f"{found.metric}: {a} {found.mean_a:.4f}, {b} {found.mean_b:.4f}, over {pair.samples:,} samples of both",
        f"difference {pair.difference:+.4f}{reach}; McNemar's exact p = {pair.p_value:.4g}",
        f"flips: {pair.gained:,} better in {b}, {pair.lost:,} worse",
    ]
    lines += _listed(f"asked differently ({len(found.asked_differently):,})", found.asked_differently)
    lines += _listed(f"answered by {a} alone ({len(found.only_a):,})", found.only_a)
    lines += _listed(f"answered by {b} alone ({len(found.only_b):,})", found.only_b)
    lines += [f"setting {name}: {one!r} in {a}, {other!r} in {b}" for name, one, other in found.settings]
    return lines


def _listed(what: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return [f"{what}: {', '.join(names[:_SHOWN])}{more}"]
