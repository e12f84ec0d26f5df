"""Topics are compared fast, exactly, and the same way each time."""

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.monitoring.drift.mmd import Discrepancy, compare_topics

from tests.monitoring.drift.messages import EVEN, moved, sample, without_first


def vectors(size: int, shares: NDArray[Any] = EVEN, seed: int = 0) -> NDArray[Any]:
    return sample(np.random.default_rng(seed), size, shares).topics


def verdict(reference: NDArray[Any], window: NDArray[Any], permutations: int = 499) -> Discrepancy:
    return compare_topics(reference, window, permutations=permutations, alpha=0.01, power=0.8)


def test_the_same_vectors_get_the_same_verdict() -> None:
    before, after = vectors(100), vectors(60, seed=1)
    assert verdict(before, after) == verdict(before, after)


def test_p_values_of_what_has_not_changed_are_uniform() -> None:
    found = [
        verdict(vectors(60, seed=seed), vectors(40, seed=100 + seed), 99) for seed in range(60)
    ]
    assert np.mean([one.p_value for one in found]) == pytest.approx(0.5, abs=0.15)
    assert np.mean([one.score for one in found]) < 0.05


@pytest.mark.parametrize("same", [0.6, 0.9, 1])
def test_texts_that_are_mostly_the_same_are_no_shift(same: float) -> None:
    """A job that asks one thing over and over."""
    before, after = vectors(200), vectors(100, seed=1)
    for texts in (before, after):
        texts[: round(same * len(texts))] = before[-1]
    assert verdict(before, after).p_value > 0.01


def test_a_score_grows_with_the_shift() -> None:
    before = vectors(300, without_first())
    scores = [
        verdict(before, vectors(200, moved(without_first(), share), seed=1)).score
        for share in (0, 0.3, 0.6, 1)
    ]
    assert scores == sorted(scores)
    assert scores[-1] > 3 * scores[0]


def test_more_texts_show_a_smaller_shift() -> None:
    few, many = (verdict(vectors(size), vectors(size, seed=1)).detectable for size in (100, 400))
    assert few
    assert many
    assert many < few < 1


def test_very_few_texts_show_none() -> None:
    assert verdict(vectors(4), vectors(3, seed=1)).detectable is None


def test_a_comparison_takes_well_under_a_second() -> None:
    before, after = vectors(400), vectors(200, seed=1)
    started = time.process_time()
    verdict(before, after, 999)
    # Of all processors together.
    assert time.process_time() - started < 2
