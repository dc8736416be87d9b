"""How sure a score is, and whether two differ: closed formulas and one bootstrap with a fixed seed."""

import math
import random
from collections.abc import Sequence
from fractions import Fraction
from statistics import NormalDist
from typing import NamedTuple

RESAMPLES = 1000
SEED = 1234


class Interval(NamedTuple):
    """A confidence interval, its ends included."""

    low: float
    high: float


class Paired(NamedTuple):
    """How the scores of B differ from those of A on the same samples.

    `gained` samples are better in B, `lost` are worse, `p_value` is McNemar's exact one for as many discordant pairs.
    """

    samples: int
    difference: float
    stderr: float | None
    interval: Interval | None
    gained: int
    lost: int
    p_value: float


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean. Raises ValueError if there are no values."""
    if not values:
        raise ValueError("there is no mean of no values")
    return math.fsum(values) / len(values)


def stderr(values: Sequence[float]) -> float | None:
    """The standard error of the mean: the sample standard deviation (n - 1) over √n; None below two values."""
    n = len(values)
    if n < 2:
        return None
    center = mean(values)
    return math.sqrt(math.fsum((value - center) ** 2 for value in values) / (n - 1) / n)


def bootstrap_interval(
    values: Sequence[float], *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval | None:
    """The percentile bootstrap interval of the mean (Efron 1979); the same values always give the same interval.

    `values` are of independent samples: repeats of one sample go in as their mean. None below two values.
    """
    n = len(values)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not in (0, 1)")
    if n < 2:
        return None
    generator = random.Random(seed)  # noqa: S311 - reproducible on purpose
    means = sorted(math.fsum(generator.choices(values, k=n)) / n for _ in range(resamples))
    tail = (1 - confidence) / 2
    return Interval(_quantile(means, tail), _quantile(means, 1 - tail))


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The unbiased estimate of pass@k from `correct` right ones of `n` answers: 1 - C(n-c, k) / C(n, k).

    Chen et al. 2021, Evaluating Large Language Models Trained on Code, equation 1.
    """
    if not 0 <= correct <= n:
        raise ValueError(f"{correct} right answers of {n} cannot be")
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} answers for each sample, and k from 1; there are {n}")
    return float(1 - Fraction(math.comb(n - correct, k), math.comb(n, k)))


def mcnemar_exact(gained: int, lost: int) -> float:
    """The two-sided exact p-value of McNemar's test for that many discordant pairs: a sign test at 1/2.

    McNemar 1947; the binomial form, twice the smaller tail and at most 1, as there are often few pairs.
    """
    if min(gained, lost) < 0:
        raise ValueError(f"{gained} and {lost} are not two counts")
    n = gained + lost
    tail = sum(math.comb(n, i) for i in range(min(gained, lost) + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2**n)))


def paired(first: Sequence[float], second: Sequence[float], *, confidence: float = 0.95) -> Paired:
    """The scores of A (`first`) and B (`second`) on the same samples, in the same order, compared sample by sample.

    The interval is normal, of the mean difference: pairing removes what both runs owe to the difficulty of the samples
    (Miller 2024, Adding Error Bars to Evals, section 4.2).
    """
    differences = [b - a for a, b in zip(first, second, strict=True)]
    difference, error = mean(differences), stderr(differences)
    gained, lost = sum(each > 0 for each in differences), sum(each < 0 for each in differences)
    reach = None if error is None else NormalDist().inv_cdf((1 + confidence) / 2) * error
    interval = None if reach is None else Interval(difference - reach, difference + reach)
    return Paired(len(differences), difference, error, interval, gained, lost, mcnemar_exact(gained, lost))


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear interpolation between the neighbors, as NumPy's default does."""
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])
