"""Labels and what they are taken for."""

from types import SimpleNamespace
from typing import Any, cast

from evals.engine.eval import Cases
from evals.evaluators.labels import confusion


def test_cases_are_counted_by_expected_and_given_label() -> None:
    pairs = [("a", "a"), ("a", "a"), ("a", "b"), ("b", "b"), ("b", "invalid")]
    cases = [SimpleNamespace(expected_output=one, output=other) for one, other in pairs]
    assert confusion(cast(Cases, cases)) == {
        "Labels": [
            ["expected \\ given", "a", "b", "invalid", "recall"],
            ["a", 2, 1, 0, "0.67"],
            ["b", 0, 1, 1, "0.50"],
            ["invalid", 0, 0, 0, ""],
            ["precision", "1.00", "0.50", "0.00", ""],
        ]
    }


def test_without_cases_there_is_only_the_frame() -> None:
    none: Any = []
    assert confusion(none) == {"Labels": [["expected \\ given", "recall"], ["precision", ""]]}
