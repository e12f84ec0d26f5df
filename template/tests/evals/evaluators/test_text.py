"""Texts that say what they should, and texts that do not."""

import pytest
from pydantic_evals.evaluators import EvaluationReason

from evals.evaluators.text import Matches, Resembles, Says
from tests.evals.evaluators.contexts import context, found


@pytest.mark.parametrize(
    ("said", "expected", "holds"),
    [
        ("The answer is 42.", "answer is 42", True),
        ("THE  ANSWER\nis 42", "the answer is", True),
        ("Straße", "STRASSE", True),
        ("It is 4.", "42", False),
        ("It is 142.", "42", False),
        ("It costs 42.50", "42", True),
        ("", "42", False),
    ],
)
def test_a_text_says_what_it_holds_whatever_its_case_and_spaces(
    said: str, expected: str, holds: bool
) -> None:
    assert found(Says(), context(said, expected)) is holds


def test_a_case_that_expects_nothing_is_a_fault_and_no_pass() -> None:
    with pytest.raises(ValueError, match="no expected_output"):
        Says().evaluate(context("anything"))


def test_what_is_missing_is_named() -> None:
    assert Says().evaluate(context("no", "yes")) == EvaluationReason(
        value=False, reason="it does not say 'yes'"
    )


@pytest.mark.parametrize(("said", "holds"), [("Order A-17 is\nhere", True), ("Order 17", False)])
def test_a_pattern_may_stand_anywhere(said: str, holds: bool) -> None:
    assert found(Matches(r"^order a-\d+"), context(said)) is holds


def test_a_text_resembles_another_by_the_letters_they_share() -> None:
    near = found(Resembles(), context("The shop opens at 9", "the shop opens at nine"))
    far = found(Resembles(), context("Closed", "The shop opens at nine"))
    assert near["ratio"] > 0.8 > far["ratio"]
    assert found(Resembles(), context("Same ", "same")) == {"ratio": 1, "Resembles": True}
    assert far["Resembles"] is False
