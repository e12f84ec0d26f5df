"""Fields of extracted data, right and wrong."""

from typing import Any

import pytest

from evals.evaluators.fields import Fields
from tests.evals.evaluators.contexts import context, found

EXPECTED: dict[str, Any] = {
    "supplier": "Acme",
    "total": 9.5,
    "due_on": None,
    "lines": [{"what": "Bolt", "amount": 1}, {"what": "Nut", "amount": 2}],
}


@pytest.mark.parametrize(
    ("change", "f1"),
    [
        ({}, 1),
        ({"supplier": " ACME "}, 1),  # only its case and spaces differ
        ({"total": "9.50"}, 1),  # a number is the number that it says
        ({"lines": [EXPECTED["lines"][1], EXPECTED["lines"][0]]}, 1),
        ({"more": "that no case names"}, 1),
        ({"total": 9.6}, 0.75),
        ({"total": 9.5000001}, 0.75),
        ({"supplier": None}, 6 / 7),
        ({"due_on": "2026-01-01"}, 8 / 9),
        ({"lines": [{"what": "Bolt", "amount": 2}, {"what": "Nut", "amount": 1}]}, 0.5),
        ({"lines": []}, 2 / 3),
    ],
)
def test_a_field_counts_where_it_has_the_value_at_its_place(
    change: dict[str, Any], f1: float
) -> None:
    said = found(Fields(), context(EXPECTED | change, EXPECTED))
    assert said["field_f1"] == pytest.approx(f1)
    assert said["Fields"] is (f1 == 1)


def test_the_wrong_fields_are_named() -> None:
    said = Fields().evaluate(context({"total": 1}, {"total": 2, "lines": [{"what": "Nut"}]}))
    assert said["Fields"].reason == "wrong: lines, total"  # type: ignore[union-attr]


def test_less_than_all_may_be_enough() -> None:
    assert found(Fields(at_least=0.7), context(EXPECTED | {"total": 0}, EXPECTED))["Fields"] is True


def test_nothing_expected_and_nothing_found_is_right() -> None:
    assert found(Fields(), context({}, {})) == {"field_f1": 1, "Fields": True}


@pytest.mark.parametrize("number", ["2026118", "02026117", "2026117.0"])
def test_a_number_of_many_digits_is_compared_to_its_last(number: str) -> None:
    same = number == "2026117.0"
    assert found(Fields(), context({"id": number}, {"id": "2026117"}))["Fields"] is same
