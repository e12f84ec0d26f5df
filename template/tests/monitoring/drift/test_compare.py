"""Each measure is compared by what fits it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from app.monitoring.drift.compare import compare, stability
from app.monitoring.drift.report import ALPHA, FEWEST, POWER, Comparison
from app.monitoring.drift.sample import Sample

from tests.monitoring.drift.messages import sample

MEASURES = ("topics", "input_length", "output_length", "refusals", "feedback")
# Quick, where topics are not what is looked at.
FEW = 99


def compared(reference: Sample, window: Sample) -> dict[str, Comparison]:
    found = compare({"chat": (reference, window)}, permutations=FEW)
    return {one.measure: one for one in found}


def two_samples(
    *, longer: float = 1, refused: float = 0.05, down: float = 0.2
) -> tuple[Sample, Sample]:
    """Draw a reference, and a window with these changes."""
    rng = np.random.default_rng(0)
    reference = sample(rng, 400)
    return reference, sample(rng, 200, longer=longer, refused=refused, down=down)


def without_topics(one: Sample) -> Sample:
    return replace(one, topics=one.topics[:0])


def test_what_is_the_same_has_not_changed() -> None:
    found = compared(*two_samples())
    assert tuple(found) == MEASURES
    assert not any(one.has_changed for one in found.values())
    assert {one.score < 0.1 for one in found.values()} == {True}


@pytest.mark.parametrize(
    ("changes", "measure"),
    [
        ({"longer": 1.5}, "output_length"),
        ({"refused": 0.25}, "refusals"),
        ({"down": 0.8}, "feedback"),
    ],
)
def test_a_change_is_found_where_it_is(changes: dict[str, float], measure: str) -> None:
    found = compared(*two_samples(**changes))
    assert [one.measure for one in found.values() if one.has_changed] == [measure]
    assert found[measure].score > 0.1


def test_of_too_few_nothing_is_said() -> None:
    rng = np.random.default_rng(0)
    found = compared(sample(rng, 400), sample(rng, FEWEST - 1))
    assert {one.p_value for one in found.values()} == {None}
    assert {(one.reference, one.window) for one in found.values()} == {
        (400, FEWEST - 1),
        (100, (FEWEST - 1) // 4),
    }


def test_a_measure_that_is_the_same_all_the_time_can_be_compared() -> None:
    reference, window = two_samples(refused=0)
    never = replace(reference, refused=np.zeros(400, bool), output_lengths=np.full(400, 7))
    same = replace(window, output_lengths=np.full(200, 7))
    found = compared(never, same)
    assert (found["refusals"].p_value, found["output_length"].p_value) == (1, 1)
    assert found["refusals"].detectable == pytest.approx(0.04, abs=0.02)


def test_texts_without_words_can_be_compared() -> None:
    reference, window = two_samples()
    blank = replace(reference, topics=np.zeros_like(reference.topics))
    alike = replace(window, topics=np.zeros_like(window.topics))
    assert compared(blank, alike)["topics"].p_value == 1
    assert compared(blank, window)["topics"].has_changed


def test_p_values_are_corrected_over_all_features_and_measures() -> None:
    reference, window = (without_topics(one) for one in two_samples(refused=0.25))
    alone = compare({"chat": (reference, window)})
    together = compare({"chat": (reference, window), "search": (reference, window)})
    (one,) = (c for c in alone if c.measure == "refusals")
    both = [c for c in together if c.measure == "refusals"]
    raw = stats.fisher_exact(
        [
            [(~one_sample.refused).sum(), one_sample.refused.sum()]
            for one_sample in (reference, window)
        ]
    ).pvalue
    assert one.p_value == pytest.approx(4 * raw)
    # The second of equal ones is not better than the first.
    assert [c.p_value for c in both] == pytest.approx([8 * raw, 8 * raw])


def test_the_rise_of_a_rate_that_is_named_is_found_as_often_as_is_said() -> None:
    reference, window = two_samples()
    strict = ALPHA / 5
    for before, size in ((reference.refused, 200), (reference.rated_down, 50)):
        measure = "refusals" if size == 200 else "feedback"
        named = compared(reference, window)[measure].detectable
        assert named
        rng = np.random.default_rng(1)
        counts, tries = rng.binomial(size, named, 1_000), [(~before).sum(), before.sum()]
        found = [
            stats.fisher_exact([tries, [size - count, count]]).pvalue <= strict for count in counts
        ]
        assert np.mean(found) == pytest.approx(POWER, abs=0.05)


def test_the_shift_of_lengths_that_is_named_is_found_at_least_as_often_as_is_said() -> None:
    reference, window = two_samples()
    named = compared(reference, window)["output_length"].detectable
    assert named
    strict = ALPHA / 5
    rng = np.random.default_rng(1)
    # As many more are beyond 0, in the middle, where the difference varies the most.
    low = 0.5 - named / 2
    found = []
    for _ in range(500):
        before = rng.uniform(-1, 1, 400) + 2 * np.where(rng.random(400) < 0.5 + named / 2, -1, 1)
        after = rng.uniform(-1, 1, 200) + 2 * np.where(rng.random(200) < low, -1, 1)
        found.append(stats.ks_2samp(before, after, method="asymp").pvalue <= strict)
    assert POWER - 0.04 <= np.mean(found) <= POWER + 0.1


def test_chance_alone_gives_no_score() -> None:
    rng = np.random.default_rng(0)
    scores = [
        stability(rng.multinomial(400, [0.1] * 10), rng.multinomial(200, [0.1] * 10))
        for _ in range(500)
    ]
    assert np.median(scores) < 0.005
    assert np.quantile(scores, 0.95) < 0.1


def test_the_score_is_the_index_where_there_is_much_of_it() -> None:
    before, after = np.array([5_000, 5_000]), np.array([7_000, 3_000])
    assert stability(before, after) == pytest.approx(
        0.2 * np.log(1.4) - 0.2 * np.log(0.6), rel=0.01
    )
