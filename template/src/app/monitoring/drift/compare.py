"""Compare what was asked and answered in a window with a reference, one measure at a time.

Each measure has a test that fits it, and a score of how much has changed, from which is taken what
chance alone gives. Somebody looks at each alarm, so what is bounded is the chance that any is
false: the p-values are corrected by Holm's method, which holds however the measures hang together.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from app.monitoring.drift.mmd import compare_topics
from app.monitoring.drift.report import (
    ALPHA,
    FEEDBACK,
    FEWEST,
    POWER,
    REFUSALS,
    TOPICS,
    Comparison,
)
from app.monitoring.drift.sample import Sample

Array = NDArray[Any]
_PERMUTATIONS: Final = 9_999
_BINS: Final = 10


def compare(
    features: Mapping[str, tuple[Sample, Sample]], *, permutations: int = _PERMUTATIONS
) -> tuple[Comparison, ...]:
    """Compare the reference and the window of each feature; p-values are corrected over all."""
    found: list[Comparison] = []
    pairs = [
        (feature, measure, before, window.measures[measure])
        for feature, (reference, window) in sorted(features.items())
        for measure, before in reference.measures.items()
    ]
    tests = sum(min(len(before), len(after)) >= FEWEST for *_, before, after in pairs)
    for feature, measure, before, after in pairs:
        blank = Comparison(feature, measure, len(before), len(after))
        if min(len(before), len(after)) < FEWEST:
            found.append(blank)
        elif measure == TOPICS:
            # One has to be rare among this many to be significant after the correction.
            count = max(permutations, ceil(2 * tests / ALPHA))
            found.append(_of_topics(blank, before, after, ALPHA / tests, count))
        elif measure in (REFUSALS, FEEDBACK):
            found.append(_of_rates(blank, before, after, ALPHA / tests))
        else:
            found.append(_of_lengths(blank, before, after, ALPHA / tests))
    return _corrected(found)


def _of_topics(
    blank: Comparison, before: Array, after: Array, alpha: float, permutations: int
) -> Comparison:
    found = compare_topics(before, after, permutations=permutations, alpha=alpha, power=POWER)
    return replace(blank, score=found.score, p_value=found.p_value, detectable=found.detectable)


def _of_lengths(blank: Comparison, before: Array, after: Array, alpha: float) -> Comparison:
    """Kolmogorov and Smirnov's test, which many equal lengths only make more careful.

    What it finds is the largest difference between the shares that are beyond a length. Beside the
    least that is significant stands how much that difference itself varies, at most.
    """
    sizes = len(before), len(after)
    least = stats.kstwo.isf(alpha, round(sizes[0] * sizes[1] / sum(sizes)))
    varies = 0.5 * (1 / sizes[0] + 1 / sizes[1]) ** 0.5
    detectable = float(least + stats.norm.ppf(POWER) * varies)
    edges = np.unique(np.quantile(before, np.arange(1, _BINS) / _BINS))
    binned = [np.searchsorted(edges, lengths) for lengths in (before, after)]
    return replace(
        blank,
        before=float(np.median(before)),
        after=float(np.median(after)),
        score=stability(*(np.bincount(places, minlength=len(edges) + 1) for places in binned)),
        p_value=float(stats.ks_2samp(before, after, method="asymp").pvalue),
        detectable=detectable if detectable < 1 else None,
    )


def _of_rates(blank: Comparison, before: Array, after: Array, alpha: float) -> Comparison:
    """Fisher's exact test. What rise it finds is exact as well, for the reference as it is."""
    counts, size = np.array([~before, before]).sum(axis=1), len(after)

    def p_value(count: int) -> float:
        return float(stats.fisher_exact([[size - count, count], counts]).pvalue)

    expected = ceil(size * before.mean())
    risen = range(expected, size + 1)
    # The smallest count that is significant, and the rate at which so many come often enough.
    count = expected + bisect_left(risen, True, key=lambda count: p_value(count) <= alpha)
    return replace(
        blank,
        before=float(before.mean()),
        after=float(after.mean()),
        score=stability(counts, np.array([~after, after]).sum(axis=1)),
        p_value=p_value(int(after.sum())),
        detectable=float(stats.beta.ppf(POWER, count, size - count + 1)) if count <= size else None,
    )


def stability(before: Array, after: Array) -> float:
    """Return the population stability index of two arrays of counts, less what chance gives.

    Half a response more in each bin keeps it finite where one is empty.
    """
    shares = [(counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (before, after)]
    index = np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0]))
    chance = (len(before) - 1) * (1 / before.sum() + 1 / after.sum())
    return max(0.0, float(index - chance))


def _corrected(found: list[Comparison]) -> tuple[Comparison, ...]:
    """Correct the p-values by Holm's method."""
    tested = sorted(
        (one.p_value, place) for place, one in enumerate(found) if one.p_value is not None
    )
    largest = 0.0
    for rank, (p_value, place) in enumerate(tested):
        largest = min(1.0, max(largest, p_value * (len(tested) - rank)))
        found[place] = replace(found[place], p_value=largest)
    return tuple(found)
