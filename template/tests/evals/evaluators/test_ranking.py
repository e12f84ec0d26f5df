"""Rankings, scored by what they should find."""

from math import log2

import pytest

from evals.evaluators.ranking import Ranking, discounted_gain, reciprocal_rank
from tests.evals.evaluators.contexts import context, found


@pytest.mark.parametrize(
    ("ranked", "recall", "mrr", "ndcg", "holds"),
    [
        (["a", "b", "c"], 1, 1, 1, True),
        (["c", "a", "b"], 1, 0.5, (1 / log2(3) + 1 / 2) / (1 + 1 / log2(3)), True),
        (["a", "c", "d", "b"], 0.5, 1, 1 / (1 + 1 / log2(3)), False),
        (["c", "d", "e", "a"], 0, 0.25, 0, False),
        ([], 0, 0, 0, False),
    ],
)
def test_a_ranking_of_two_that_are_wanted(
    ranked: list[str], recall: float, mrr: float, ndcg: float, holds: bool
) -> None:
    said = found(Ranking(k=3), context(ranked, ["a", "b"]))
    assert said == {
        "recall@3": recall,
        "mrr": mrr,
        "ndcg@3": pytest.approx(ndcg),
        "all in 3": holds,
    }


def test_one_that_is_found_twice_counts_once() -> None:
    assert discounted_gain(["a", "a", "b"], {"a", "b"}, 3) == pytest.approx(1)


def test_the_best_is_what_so_many_places_can_hold() -> None:
    assert discounted_gain(["a"], {"a", "b", "c"}, 1) == 1


def test_where_nothing_is_wanted_nothing_is_missing() -> None:
    assert found(Ranking(k=3), context(["a"], [])) == {
        "recall@3": 1,
        "mrr": 0,
        "ndcg@3": 1,
        "all in 3": True,
    }
    assert reciprocal_rank(["a"], set()) == 0
