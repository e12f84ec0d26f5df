"""The evals' gate keeps what it promises: false alarms, and the drop that it says it finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from evals.engine.baseline import Baseline
from evals.engine.gate import judge
from evals.engine.results import Asked, Check, Outcome, Result, Run
from evals.engine.statistics import detectable_drop, wilson

SEEDS = range(400)
CASES = [30, 100, 300]
DROPS = [0, 0.05, 0.1, 0.2, 0.3]
RATE = 0.9
ASKED = Asked(model="synthetic", dataset="synthetic")


def outcomes(*, holds: bool) -> list[Outcome]:
    """Return the outcome of each case where it passes, or where it does not."""
    runs = (Run(output="", checks=(Check(name="drawn", holds=holds),)),)
    names = map(str, range(max(CASES)))
    return [Outcome(case=name, question="", expected="", runs=runs) for name in names]


PASSING, FAILING = outcomes(holds=True), outcomes(holds=False)


def result(passes: Sequence[bool]) -> Result:
    drawn = zip(passes, PASSING, FAILING, strict=False)
    cases = tuple(good if passed else bad for passed, good, bad in drawn)
    return Result(name="synthetic", asked=ASKED, outcomes=cases)


def failed(cases: int, drop: float) -> int:
    """Return for how many seeds the gate fails a run that is worse by `drop`."""
    count = 0
    for seed in SEEDS:
        random = np.random.default_rng([seed, cases, round(1_000 * drop)])
        before, after = random.random(cases) < RATE, random.random(cases) < RATE - drop
        ruling = judge(result(after.tolist()), Baseline.of(result(before.tolist())))
        count += ruling.verdict == "fail"
    return count


@pytest.mark.slow
@pytest.mark.parametrize("cases", CASES)
def test_the_gate_raises_few_false_alarms_and_finds_the_drop_that_it_prints(cases: int) -> None:
    detectable = detectable_drop(cases, RATE)
    assert detectable
    print(f"\n{cases} cases; 80 % power is computed for a drop of {detectable:.3f}")
    counts = {}
    for drop in [*DROPS, detectable]:
        counts[drop] = failed(cases, drop)
        low, high = wilson(counts[drop], len(SEEDS))
        rate = counts[drop] / len(SEEDS)
        print(f"drop {drop:.3f}: failed {rate:.4f} ({low:.4f} to {high:.4f})")

    alarms = wilson(counts[0], len(SEEDS))
    assert alarms.low <= 0.05 <= alarms.high
    found = wilson(counts[detectable], len(SEEDS))
    assert found.low <= 0.8 <= found.high
    by_drop = [counts[drop] for drop in DROPS]
    assert by_drop == sorted(by_drop)
