"""How often an alarm is false, and how often a shift is found, on the messages in `questions/`.

Where the environment has `DRIFT_WINDOWS=400` it is found out with so many, which takes minutes.
"""

import os
from functools import cache

import numpy as np
from scipy import stats

from app.monitoring.drift.compare import compare
from app.monitoring.drift.mmd import compare_topics
from app.monitoring.drift.report import ALPHA, POWER, Comparison

from tests.monitoring.drift.messages import EVEN, TOPICS, messages, moved, sample, without_first

# Read at import, for fixtures take it out of the environment of a test.
WINDOWS = int(os.environ.get("DRIFT_WINDOWS", "12"))
REFERENCE, WINDOW, FEATURE = 400, 200, "chat"
# What each of five measures has to be significant at to be surely significant after the correction.
STRICT = ALPHA / 5


def most(rate: float) -> int:
    """Return how many of the windows have what has this rate, but once in a thousand times."""
    return int(stats.binom.ppf(0.999, WINDOWS, rate))


@cache
def compared(seed: int, share: float, *, is_new: bool = False) -> tuple[Comparison, ...]:
    """Compare a reference with a window of which this share has turned to a topic.

    Which topic depends on the seed; where it is new, the reference has nothing of it.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(TOPICS)
    before = without_first() if is_new else EVEN
    reference = sample(rng, REFERENCE, before, order=order)
    window = sample(rng, WINDOW, moved(before, share), order=order)
    return compare({FEATURE: (reference, window)}, permutations=999)


def test_few_alarms_are_false() -> None:
    alarms = sum(any(c.has_changed for c in compared(seed, 0)) for seed in range(WINDOWS))
    print(f"\n{alarms} of {WINDOWS} alarms are false at alpha {ALPHA}.")
    assert alarms <= min(most(ALPHA), max(1, 0.03 * WINDOWS))


def test_a_shift_of_topics_is_found() -> None:
    found = [compared(1_000 + seed, 0.2, is_new=True)[0] for seed in range(WINDOWS)]
    count = sum(one.has_changed for one in found)
    shares = [one.detectable for one in found if one.detectable]
    print(
        f"\n{count} of {WINDOWS} shifts of 20 % to a new topic are found, at n = {WINDOW}."
        f" The report says {np.mean(shares):.2f} of one that it knows would be, {POWER} of the"
        " time."
    )
    assert count >= 0.9 * WINDOWS
    assert len(shares) == WINDOWS


def test_the_shift_of_topics_that_is_named_is_found_as_often_as_is_said() -> None:
    """To a topic that the reference has as well, which is the harder case."""
    windows = min(WINDOWS, 100)
    shares = [compared(seed, 0)[0].detectable for seed in range(windows)]
    named = float(np.mean([share for share in shares if share]))
    rng = np.random.default_rng(0)
    vectors = messages().vectors
    found = 0
    for _ in range(windows):
        order = rng.permutation(TOPICS)
        drawn = [
            vectors[order[rng.choice(TOPICS, size, p=p)], rng.integers(vectors.shape[1], size=size)]
            for size, p in ((REFERENCE, EVEN), (WINDOW, moved(EVEN, named)))
        ]
        test = compare_topics(*drawn, permutations=999, alpha=STRICT, power=POWER)
        found += test.p_value <= STRICT
    print(f"\nOf shifts of {named:.2f} {found} of {windows} are found, {POWER} is said.")
    assert stats.binom.ppf(0.001, windows, POWER) <= found
