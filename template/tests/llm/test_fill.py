from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from pydantic import BaseModel

from app.llm.fill import fill


class Currency(StrEnum):
    EUR = "EUR"
    USD = "USD"


class Address(BaseModel):
    city: str


class Invoice(BaseModel):
    number: str
    issue_date: date
    due_date: date | None = None
    total: Decimal
    tax: Decimal | None
    currency: Currency
    paid: bool
    address: Address
    notes: list[str]


TEXT = """Number: INV-17.
Issue date 2026-03-01, to be paid: no
City: Berlin
3 chairs. The total is 1,219.50 EUR."""


def test_a_model_is_filled_by_the_names_and_types_of_its_fields() -> None:
    invoice = Invoice.model_validate({**fill(Invoice.model_json_schema(), TEXT), "notes": []})
    assert invoice == Invoice(
        number="INV-17",
        issue_date=date(2026, 3, 1),
        due_date=None,
        total=Decimal("1219.5"),
        tax=None,
        currency=Currency.EUR,
        paid=False,
        address=Address(city="Berlin"),
        notes=[],
    )


def test_what_the_text_does_not_say_is_left_out() -> None:
    assert fill(Invoice.model_json_schema(), "") == {
        "due_date": None,
        "tax": None,
        "notes": [],
    }


def test_required_numbers_are_taken_in_turn_and_each_once() -> None:
    number = {"type": "number"}
    fields = {"a": number, "b": number, "c": number}
    schema = {"type": "object", "properties": fields, "required": ["a", "b", "c"]}
    assert fill(schema, "Add 2 and 3.5") == {"a": 2, "b": 3.5}


def test_a_required_string_without_a_name_is_left_out_or_the_whole_text() -> None:
    schema = {"properties": {"city": {"type": "string"}}, "required": ["city"]}
    text = " Is it raining in Rome? "
    assert fill(schema, text) == {}
    assert fill(schema, text, whole=True) == {"city": "Is it raining in Rome?"}


def test_a_string_ends_where_the_next_name_begins() -> None:
    schema = {"properties": {"item": {"type": "string"}, "price": {"type": "number"}}}
    found = fill(schema, "Item: Paper, A4, white, price: 4.50")
    assert found == {"item": "Paper, A4, white", "price": 4.5}


def test_a_list_of_objects_takes_what_is_named_again_and_again() -> None:
    line = {
        "type": "object",
        "properties": {"item": {"type": "string"}, "price": {"type": "number"}},
        "required": ["item", "price"],
    }
    schema = {
        "properties": {"total": {"type": "number"}, "lines": {"type": "array", "items": line}},
        "required": ["total"],
    }
    text = "Item: Paper, price: 4.50\nItem: Toner, price: 61\nTotal: 65.50"
    lines = [{"item": "Paper", "price": 4.5}, {"item": "Toner", "price": 61}]
    assert fill(schema, text) == {"total": 65.5, "lines": lines}
    assert fill(schema, "Total: 3, of 1 and 2") == {"total": 3, "lines": []}


def test_a_list_of_strings_stands_behind_its_name() -> None:
    strings = {"type": "array", "items": {"type": "string"}}
    schema = {"properties": {"skills": strings, "towns": strings}}
    assert fill(schema, "Skills: Python, SQL") == {"skills": ["Python", "SQL"], "towns": []}


LABEL = {
    "properties": {
        "label": {
            "enum": ["billing", "technical"],
            "description": "About.\n\nbilling: an invoice, a charge.\ntechnical: a crash.",
        }
    },
    "required": ["label"],
}


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I was charged twice!", "billing"),
        ("It crashes.", "technical"),
        ("A technical question about a charge.", "technical"),
    ],
)
def test_a_member_is_named_or_described(text: str, label: str) -> None:
    assert fill(LABEL, text) == {"label": label}


def test_a_member_that_nothing_speaks_for_is_left_out() -> None:
    assert fill(LABEL, "Good morning.") == {}


def test_a_list_takes_all_values_of_its_kind() -> None:
    schema = {
        "properties": {"xs": {"type": "array", "items": {"type": "integer"}}},
        "required": ["xs"],
    }
    assert fill(schema, "1, 2 and 2 on 2026-01-01") == {"xs": [1, 2, 2]}


def test_a_constant_is_given_as_it_is() -> None:
    assert fill({"properties": {"kind": {"const": "note"}}}, "Hello") == {"kind": "note"}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/nowhere"},
        {"properties": ["a"]},
        {"properties": {"a": "b"}},
        {"properties": {"a": {"type": {}}}},
        {"properties": {"a": {"enum": 5}}},
        {"properties": {"a": {"$ref": 5}}},
        {"properties": {"a": {"type": "number"}}, "required": 5},
    ],
)
def test_what_is_no_json_schema_has_no_fields(schema: dict[str, Any]) -> None:
    assert fill(schema, "a 5") == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [({"type": ["string", "null"]}, "5"), ({"enum": []}, None), (True, None), ({"type": {}}, None)],
)
def test_an_odd_field_does_not_spoil_the_others(field: object, value: str | None) -> None:
    found = fill({"properties": {"a": field, "b": {"type": "integer"}}}, "a: 5\nb: 7")
    assert found == ({"b": 7} if value is None else {"a": value, "b": 7})


def test_a_long_line_is_read_at_once() -> None:
    schema = {"properties": {"name": {"type": "string"}}}
    dots = "." * 19_000
    assert fill(schema, f"name: x{dots}b") == {"name": f"x{dots}b"}


def test_a_schema_that_unfolds_without_end_is_given_up() -> None:
    properties = {f"a{number}": {"$ref": "#/$defs/node"} for number in range(800)}
    node = {"type": "object", "properties": properties}
    assert fill({"$ref": "#/$defs/node", "$defs": {"node": node}}, "a b c " * 9_000) is not None
