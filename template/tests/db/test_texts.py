import re
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from app.db.texts import Line, Text

KINDS = pytest.mark.parametrize("kind", [TypeAdapter(Text), TypeAdapter(Line)])


@KINDS
@pytest.mark.parametrize("text", ["a\0b", "\ud800"], ids=["NUL", "half a pair"])
def test_what_cannot_be_stored_is_refused_with_what_to_do(
    kind: TypeAdapter[Any], text: str
) -> None:
    with pytest.raises(ValidationError, match="cannot be stored: leave it out"):
        kind.validate_python(text)


@KINDS
def test_the_schema_says_that_nul_cannot_be_stored(kind: TypeAdapter[Any]) -> None:
    pattern = kind.json_schema()["pattern"]
    assert re.search(pattern, "Two\nlines.")
    assert not re.search(pattern, "a\0b")
