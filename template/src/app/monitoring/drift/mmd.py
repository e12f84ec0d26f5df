"""Whether two sets of topic vectors are of the same topics: maximum mean discrepancy.

It is tested by permutation, which is exact for any kernel and any number of texts, also for one
that is fitted to both sets together, as here. All permutations are a few products of matrices.
"""

from bisect import bisect_left
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Array = NDArray[Any]
# Products of so many permutations at once: what fits into a processor's cache is fastest.
_AT_ONCE: Final = 500
# Directions in which texts are compared.
_AXES: Final = 100
# Nearer to one another than this they differ by rounding alone.
_SAME: Final = 1e-6
_SIMULATED: Final = 400
_SHARES: Final = [percent / 100 for percent in range(1, 101)]
# How much of the reference counts as one topic where a shift is simulated.
_TOPIC: Final = 1 / 10


@dataclass(frozen=True)
class Discrepancy:
    """`score` is the discrepancy beyond that of chance, from 0 to about 1."""

    score: float
    p_value: float
    detectable: float | None


def compare_topics(
    reference: Array, window: Array, *, permutations: int, alpha: float, power: float
) -> Discrepancy:
    """Test two arrays of vectors, a row each; the same ones get the same verdict.

    `detectable` is the share of the window that, moved to one topic of the reference, would be
    found with this power at `alpha`; None where no share would.
    """
    # More threads would wait for one another, and leave none for whoever is answered meanwhile.
    with threadpool_limits(1):
        rng = np.random.default_rng(0)
        kernel = _kernel(np.vstack([reference, window]))
        weights = np.repeat([-1 / len(reference), 1 / len(window)], [len(reference), len(window)])
        found = float(weights @ kernel @ weights)
        chance = _by_chance(kernel, len(window), permutations, rng)
        threshold = float(np.quantile(chance, 1 - alpha, method="higher"))
        known = kernel[: len(reference), : len(reference)]
        return Discrepancy(
            score=max(0.0, found - float(chance.mean())) ** 0.5,
            # What is equal may differ in its last digits.
            p_value=float((chance >= found - 1e-7).sum() + 1) / (permutations + 1),
            detectable=_detectable(known, len(window), threshold, power, rng),
        )


def _kernel(vectors: Array) -> Array:
    """Return a Gaussian kernel of what the texts have in common (latent semantic analysis).

    What most have counts for little, and what only one has for nothing.
    """
    frequency = np.mean(vectors != 0, axis=0)
    weighted = _unit(vectors * np.log((1 + len(vectors)) / (1 + frequency * len(vectors))))
    centred = weighted - weighted.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    texts = _unit(centred @ axes[:, -_AXES:])
    distances = np.maximum(2 - 2 * texts @ texts.T, 0)
    # Where most are the same, so is the median.
    typical = np.median(distances[np.triu_indices(len(texts), 1)])
    kernel: Array = np.exp(-distances / (typical if typical > _SAME else 1)).astype(np.float32)
    return kernel


def _unit(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Array = vectors / np.where(lengths > 0, lengths, 1)
    return unit


def _by_chance(kernel: Array, window: int, permutations: int, rng: np.random.Generator) -> Array:
    """Return the discrepancies of random splits."""
    total = len(kernel)
    found = []
    for first in range(0, permutations, _AT_ONCE):
        shape = min(_AT_ONCE, permutations - first), total
        chosen = rng.random(shape, np.float32).argpartition(window, axis=1)[:, :window]
        weights = np.full(shape, -1 / (total - window), np.float32)
        np.put_along_axis(weights, chosen, np.float32(1 / window), axis=1)
        found.append(_discrepancies(kernel, weights))
    return np.concatenate(found)


def _discrepancies(kernel: Array, weights: Array) -> Array:
    found: Array = np.einsum("ij,ij->i", weights @ kernel, weights)
    return found


def _detectable(
    kernel: Array, window: int, threshold: float, power: float, rng: np.random.Generator
) -> float | None:
    """Simulate windows of which a share is about one thing: a text of the reference, and those that
    are nearest to it.
    """
    total, shape = len(kernel), (_SIMULATED, window)
    nearest = (-kernel).argsort(axis=1)[:, : ceil(total * _TOPIC)]
    about = nearest[rng.integers(total, size=(_SIMULATED, 1))][:, 0]
    moved = np.take_along_axis(about, rng.integers(about.shape[1], size=shape), axis=1)
    stayed, order = rng.integers(total, size=shape), rng.random(shape)
    reference = _weights(rng.integers(total, size=(_SIMULATED, total)), total)

    def is_found(share: float) -> bool:
        texts = np.where(order < share, moved, stayed)
        found = _discrepancies(kernel, _weights(texts, total) - reference)
        return bool((found >= threshold).mean() >= power)

    place = bisect_left(_SHARES, True, key=is_found)
    return _SHARES[place] if place < len(_SHARES) else None


def _weights(texts: Array, total: int) -> Array:
    """Return, for rows of the numbers of texts, how much of its row each of all texts is."""
    places = texts + total * np.arange(len(texts))[:, None]
    counts = np.bincount(places.ravel(), minlength=len(texts) * total)
    weights: Array = (counts / texts.shape[1]).reshape(-1, total).astype(np.float32)
    return weights
