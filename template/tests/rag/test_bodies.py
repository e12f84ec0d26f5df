"""What clients may send: what can be stored, and be found again as it was."""

import json
import re
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from app.rag.bodies import DocumentBody, Metadata, SearchBody, UploadBody

LONG = "x" * 1_001
WRONG_METADATA = {
    "NUL": {"a": "b\0c"},
    "NUL in a name": {"a\0": "b"},
    "half a surrogate pair": {"a": "\ud800"},
    "half a surrogate pair in a list": {"a": ["\udfff"]},
    "not a number": {"a": float("nan")},
    "infinite": {"a": float("inf")},
    "an integer too large to store": {"a": 2**63},
    "an integer too small to store": {"a": [-(2**63) - 1]},
    "an integer too large for a float": {"a": 10**400},
    "an object": {"a": {"b": "c"}},
    "a list in a list": {"a": [["b"]]},
    "a blank name": {" ": "b"},
    "a long text": {"a": LONG},
    "a long list": {"a": list(range(101))},
    "many names": {str(number): number for number in range(51)},
    "a list": ["a"],
}
wrong_metadata = pytest.mark.parametrize("metadata", WRONG_METADATA.values(), ids=WRONG_METADATA)


@wrong_metadata
def test_metadata_that_cannot_be_stored_are_refused(metadata: Any) -> None:
    with pytest.raises(ValidationError, match="metadata"):
        UploadBody(title="Dogs", metadata=metadata)


@wrong_metadata
def test_a_filter_is_refused_like_metadata(metadata: Any) -> None:
    with pytest.raises(ValidationError, match="filter"):
        SearchBody(query="dogs", filter=metadata)


def test_the_schema_says_which_names_metadata_may_have() -> None:
    schema = TypeAdapter(Metadata).json_schema()
    [pattern] = schema["patternProperties"]
    assert re.search(pattern, "kind of animal")
    assert not re.search(pattern, " ")
    assert schema["additionalProperties"] is False
    assert schema["propertyNames"] == {"maxLength": 500}


def test_metadata_keep_their_types() -> None:
    metadata = {"a": 1, "b": 1.5, "c": True, "d": "1", "e": None, "f": [1, "x", False], "ü": "🐕"}
    body = UploadBody.model_validate({"title": "Dogs", "metadata": json.dumps(metadata)})
    assert json.dumps(body.metadata) == json.dumps(metadata)


@pytest.mark.parametrize(
    "metadata", ["{", "[" * 10_000, '{"a": NaN}', '{"a": "\\ud800"}', "3", "null", ""]
)
def test_metadata_of_a_form_have_to_be_a_json_object(metadata: str) -> None:
    with pytest.raises(ValidationError, match="metadata"):
        UploadBody.model_validate({"title": "Dogs", "metadata": metadata})


@pytest.mark.parametrize("wrong", ["", "  ", "a\0b", "\ud800", "x" * 501, 3])
@pytest.mark.parametrize("field", ["title", "source_id"])
def test_a_name_is_a_short_line_that_is_not_blank(field: str, wrong: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        UploadBody.model_validate({"title": "Dogs", field: wrong})


@pytest.mark.parametrize("text", ["", " \n", "a\0b", "\udc00"])
def test_a_text_can_be_stored_and_is_not_blank(text: str) -> None:
    with pytest.raises(ValidationError, match="text"):
        DocumentBody(title="Dogs", text=text)


def test_a_document_of_a_type_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValidationError, match="media_type"):
        DocumentBody.model_validate({"title": "a", "text": "b", "media_type": "application/pdf"})


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 0}, {"limit": 51}, {"query": " "}, {"query": "x" * 4_001}, {"principal": "bob"}],
)
def test_a_search_is_within_its_bounds_and_names_no_principal(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        SearchBody.model_validate({"query": "dogs", **wrong})
