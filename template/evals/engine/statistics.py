"""Intervals of rates, and whether one run of the cases is worse than another.

A handful of cases says little, so no rate stands without its interval, and no "nothing found"
without the drop that would have been found.
"""

from collections.abc import Hashable, Sequence
from math import sqrt
from typing import Any, Final, NamedTuple

import numpy as np
from scipy import optimize, stats

_RESAMPLES: Final = 9_999


class Interval(NamedTuple):
    low: float
    high: float


class Drop(NamedTuple):
    """How far a rate fell, and the chance of a fall as clear where nothing is worse."""

    size: float
    p_value: float


def wilson(passed: float, total: float, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a rate; of nothing at all, everything is possible.

    `total` may be no whole number: an effective sample size.
    """
    if not total:
        return Interval(0.0, 1.0)
    z = float(stats.norm.isf((1 - confidence) / 2))
    rate = passed / total
    middle = rate + z * z / (2 * total)
    reach = z * sqrt(max(0.0, rate * (1 - rate)) / total + (z / (2 * total)) ** 2)
    scale = 1 + z * z / total
    return Interval(max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale))


def rate_interval(rates: Sequence[float], runs: int, confidence: float = 0.95) -> Interval:
    """Return the interval of the mean of the cases' rates, found in `runs` runs of all cases.

    Runs of one case are alike, so the cases are what varies: it is Wilson's interval of as many
    independent runs as have the standard error found among the cases, and of no more than there
    were. Where each case ran once that is the plain one, and where all rates are equal too.
    """
    rate, variance = float(np.mean(rates)), float(np.var(rates))
    effective = len(rates) * (rate * (1 - rate) / variance if variance else 1)
    effective = min(effective, runs)
    return wilson(rate * effective, effective, confidence)


def drop_test(before: Sequence[float], after: Sequence[float]) -> Drop:
    """Test whether the same cases, in the same order, pass less often than before (one-sided).

    Where each rate is 0 or 1 this is McNemar's exact test, else the permutation test that flips the
    signs of the differences, with a fixed seed: the same results get the same verdict. Both have
    the mid-p value: without it McNemar's raises far fewer false alarms than the 5 % it may (at
    n = 30 and a rate of 0.9: 1.4 %, with it 3.2 %; at n = 100: 3.2 % and 4.9 %), and finds less.
    """
    losses = np.subtract(before, after)
    # Rates such as 1/3 do not add up exactly.
    size = round(float(losses.mean()), 12)
    if {*before, *after} <= {0, 1}:
        failed, passed = int((losses > 0).sum()), int((losses < 0).sum())
        return Drop(size, float(_mid_p(failed, failed + passed)))
    flipped = stats.permutation_test(
        (losses,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=_RESAMPLES,
        rng=0,
    ).null_distribution
    larger, as_large = np.mean(flipped > size + 1e-9), np.mean(flipped > size - 1e-9)
    return Drop(size, float(larger + as_large) / 2)


def sign_test(first: int, second: int) -> float:
    """Return the chance of a split as uneven, either way, where neither is better (two-sided)."""
    return float(stats.binomtest(first, first + second).pvalue) if first + second else 1.0


def detectable_drop(
    cases: int,
    rate: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    minimum_effect: float = 0.02,
) -> float | None:
    """Return the smallest drop from `rate` that is found with this power; None where none is.

    Found means: `drop_test` is significant at `alpha`, and the drop is the minimum effect or more.
    It is computed exactly, for one run a case and for runs that fail independently of each other.
    Where the same cases fail again and again, smaller drops are found.
    """
    changed = np.arange(cases + 1)
    # The least number of newly failing cases that is found, among so many that changed.
    least = stats.binom.isf(alpha, changed, 0.5)
    least += _mid_p(least, changed) > alpha
    least = np.maximum(least, np.ceil((changed + minimum_effect * cases) / 2 - 1e-9))

    def found(drop: float) -> float:
        fails, passes = rate * (1 - rate + drop), (1 - rate) * (rate - drop)
        chances = stats.binom.pmf(changed, cases, fails + passes)
        return float(chances @ stats.binom.sf(least - 1, changed, fails / (fails + passes)))

    if rate <= 0 or found(rate) < power:
        return None
    return float(optimize.brentq(lambda drop: found(drop) - power, 1e-9, rate))


def kappa(pairs: Sequence[tuple[Hashable, Hashable]]) -> tuple[float, Interval]:
    """Return Cohen's kappa of two raters' labels: agreement beyond that of chance, at most 1.

    Where both always say one label it is 0, and may be anything. The interval is Wilson's of the
    agreement, with chance taken as known: unlike a bootstrap it has a width where all pairs agree.
    """
    agreed = sum(a == b for a, b in pairs)
    first, second = zip(*pairs, strict=True)
    chance = sum(first.count(label) * second.count(label) for label in {*first}) / len(pairs) ** 2
    if chance == 1:
        return 0.0, Interval(-1.0, 1.0)
    low, high = wilson(agreed, len(pairs))
    beyond = [(share - chance) / (1 - chance) for share in (agreed / len(pairs), low, high)]
    return beyond[0], Interval(max(-1.0, beyond[1]), beyond[2])


def _mid_p(failed: Any, changed: Any) -> Any:
    """Of so many cases that changed: the chance that more failed, and half of that as many did."""
    larger, as_large = (stats.binom.sf(least, changed, 0.5) for least in (failed, failed - 1))
    return (larger + as_large) / 2
