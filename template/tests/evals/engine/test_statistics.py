import numpy as np
import pytest
from scipy import stats

from evals.engine.statistics import (
    detectable_drop,
    drop_test,
    kappa,
    rate_interval,
    sign_test,
    wilson,
)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("passed", "total"), [(0, 1), (1, 1), (0, 20), (81, 263), (299, 300)])
def test_wilsons_interval_is_that_of_scipy(passed: int, total: int, confidence: float) -> None:
    expected = stats.binomtest(passed, total).proportion_ci(confidence, method="wilson")
    found = wilson(passed, total, confidence)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_of_no_case_every_rate_is_possible() -> None:
    assert wilson(0, 0) == (0, 1)


@pytest.mark.parametrize("rates", [[1, 1, 0], [1] * 20, [0] * 20, [1, 0] * 50])
def test_the_interval_of_single_runs_is_wilsons(rates: list[float]) -> None:
    found = rate_interval(rates, runs=len(rates))
    assert found == pytest.approx(wilson(sum(rates), len(rates)), abs=1e-9)


def test_runs_that_agree_count_as_one() -> None:
    all_or_none = [1.0] * 27 + [0.0] * 3
    assert rate_interval(all_or_none, runs=150) == pytest.approx(wilson(27, 30), abs=1e-9)


def test_runs_that_differ_narrow_the_interval() -> None:
    always = rate_interval([1.0] * 15 + [0.0] * 15, runs=150)
    split = rate_interval([0.2, 0.8] * 15, runs=150)
    assert always.low < split.low < 0.5 < split.high < always.high


def test_no_interval_is_narrower_than_that_of_independent_runs() -> None:
    assert rate_interval([0.4, 0.6] * 15, runs=150) == pytest.approx(wilson(75, 150))


def test_equal_rates_have_an_interval_of_some_width() -> None:
    assert rate_interval([0.5] * 10, runs=20) == pytest.approx(wilson(5, 10))


def test_an_interval_holds_the_rate_19_times_in_20() -> None:
    random = np.random.default_rng(0)
    held = 0
    for _ in range(1_000):
        # Cases are easy or hard: three runs each, at a mean rate of 0.8.
        rates = random.binomial(3, random.beta(4, 1, size=60)) / 3
        low, high = rate_interval(rates.tolist(), runs=180)
        held += low <= 0.8 <= high
    assert 0.93 <= held / 1_000 <= 0.97


def test_a_drop_of_single_runs_is_mcnemars_with_the_mid_p_value() -> None:
    before, after = [1] * 17 + [0] * 3, [0] * 7 + [1] * 10 + [1] * 2 + [0]
    # Of 9 that changed 8 or 9 fail in 10 of 512 ways, and 7 in 36, of which half count.
    assert drop_test(before, after) == pytest.approx((5 / 20, (10 + 36 / 2) / 512))


def test_only_a_fall_is_a_drop() -> None:
    assert drop_test([0] * 9, [1] * 9).p_value > 0.99
    assert drop_test([0.5] * 9, [1] * 9).p_value > 0.99
    assert drop_test([1] * 9, [1] * 9) == (0, 0.5)


def test_a_drop_of_repeated_runs_is_tested_by_flipping_signs() -> None:
    drop = drop_test([1.0] * 4 + [0.5], [0.5] * 4 + [0.5])
    # Of the 16 ways to sign four differences one is as large, and half of it counts.
    assert drop == pytest.approx((0.4, 1 / 32))


def test_the_same_rates_get_the_same_p_value() -> None:
    before, after = [1.0, 2 / 3, 1 / 3] * 20, [2 / 3, 2 / 3, 1.0] + [1.0, 1 / 3, 1 / 3] * 19
    assert drop_test(before, after) == drop_test(before, after)
    assert 0 < drop_test(before, after).p_value < 1


def test_thirds_add_up() -> None:
    one_less = [2 / 3] * 3, [1 / 3] * 3
    same = [2 / 3] * 4
    drop = drop_test(one_less[0] * 2 + same, one_less[1] + same + one_less[1])
    assert drop.size == 0.2


@pytest.mark.parametrize(("cases", "drop"), [(30, 0.27), (100, 0.13), (300, 0.07)])
def test_more_cases_show_smaller_drops(cases: int, drop: float) -> None:
    assert detectable_drop(cases, 0.9) == pytest.approx(drop, abs=0.005)


@pytest.mark.parametrize(
    ("cases", "rate", "effect"), [(12, 0.9, 0.02), (20, 0.7, 0.02), (20, 1, 0.3)]
)
def test_a_detectable_drop_is_found_4_times_in_5(cases: int, rate: float, effect: float) -> None:
    drop = detectable_drop(cases, rate, minimum_effect=effect)
    assert drop is not None
    fails, passes = rate * (1 - rate + drop), (1 - rate) * (rate - drop)
    power = 0.0
    for failed in range(cases + 1):
        for passed in range(cases + 1 - failed):
            same = cases - failed - passed
            found = drop_test(
                [1] * failed + [0] * passed + [1] * same, [0] * failed + [1] * (cases - failed)
            )
            if found.p_value <= 0.05 and found.size >= effect:
                chances = [fails, passes, 1 - fails - passes]
                power += stats.multinomial.pmf([failed, passed, same], cases, chances)
    assert power == pytest.approx(0.8, abs=0.001)


@pytest.mark.parametrize(("cases", "rate"), [(1, 1), (3, 1), (5, 0.6), (100, 0.01), (100, 0)])
def test_too_few_cases_show_no_drop(cases: int, rate: float) -> None:
    assert detectable_drop(cases, rate) is None


def test_no_drop_below_the_minimum_effect_is_found() -> None:
    drop = detectable_drop(300, 0.9, minimum_effect=0.1)
    assert drop is not None
    assert drop > 0.1


def test_kappa_is_agreement_beyond_chance() -> None:
    yes, no = True, False
    pairs = [(yes, yes)] * 20 + [(yes, no)] * 5 + [(no, yes)] * 10 + [(no, no)] * 15
    # They agree on 35 of 50, and would by chance on half of them.
    value, interval = kappa(pairs)
    low, high = wilson(35, 50)
    assert value == pytest.approx(0.4)
    assert interval == pytest.approx((2 * low - 1, 2 * high - 1))


def test_full_agreement_on_few_pairs_is_not_certain() -> None:
    value, interval = kappa([("a", "a"), ("b", "b")] * 5)
    assert value == 1
    assert interval.low < 0.5
    assert interval.high == pytest.approx(1)


def test_agreement_on_one_label_says_nothing() -> None:
    assert kappa([(True, True)] * 9) == (0, (-1, 1))


def test_kappa_is_never_below_minus_1() -> None:
    value, interval = kappa([(True, True)] * 30 + [(True, False), (False, True)])
    assert interval.low == -1 < value < 0


@pytest.mark.parametrize(
    ("first", "second", "chance"), [(0, 0, 1), (3, 3, 1), (0, 5, 2 / 32), (5, 0, 2 / 32)]
)
def test_a_split_is_as_likely_as_that_of_coins(first: int, second: int, chance: float) -> None:
    assert sign_test(first, second) == pytest.approx(chance)
