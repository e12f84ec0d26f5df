"""What an answer may take."""

import pytest

from evals.engine.running import KEPT
from evals.evaluators.limits import Within
from tests.evals.evaluators.contexts import context, found

TOOK = context("", duration=2, tokens_in=70, tokens_out=30, usd=0.01)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Within(), {}),
        (Within(seconds=2), {"within 2 seconds": True}),
        (Within(seconds=1.5), {"within 1.5 seconds": False}),
        (Within(tokens=100), {"within 100 tokens": True}),
        (Within(tokens=99), {"within 99 tokens": False}),
        (Within(usd=0.01), {"within 0.01 usd": True}),
        (Within(usd=0.001, seconds=3), {"within 3 seconds": True, "within 0.001 usd": False}),
    ],
)
def test_each_limit_that_is_set_is_held_or_not(limits: Within, said: dict[str, bool]) -> None:
    assert found(limits, TOOK) == said


def test_an_unknown_price_is_over_any_limit() -> None:
    unpriced = context("", usd=0, unpriced=1)
    assert found(Within(usd=1_000_000), unpriced) == {"within 1e+06 usd": False}


@pytest.mark.parametrize("seconds", [1, 3])
def test_of_an_answer_that_was_kept_nothing_is_said_of_the_time(seconds: float) -> None:
    kept = context("", duration=2, tokens_in=70, **{KEPT: 1})
    assert found(Within(seconds=seconds, tokens=100), kept) == {"within 100 tokens": True}
