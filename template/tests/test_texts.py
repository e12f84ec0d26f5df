import re
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from app.texts import NotBlank

TEXT = TypeAdapter(NotBlank)
# White space in Python, in JavaScript, in Rust; each has one that another one has not.
WHITE = " \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\ufeff"


def test_a_blank_text_is_refused_with_what_to_do() -> None:
    for text in ("", WHITE, *WHITE):
        with pytest.raises(ValidationError, match="a blank text says nothing: write one"):
            TEXT.validate_python(text)


def test_half_of_a_pair_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValidationError, match="is no character: leave it out"):
        TEXT.validate_python("a\ud800")


def test_the_schema_says_of_each_character_whether_it_is_blank() -> None:
    pattern = re.compile(TEXT.json_schema()["pattern"])
    for character in map(chr, range(sys.maxunicode + 1)):
        refused = character.isspace() or character == "\ufeff"
        assert bool(pattern.search(character)) is not refused
        assert bool(pattern.search(f"{character}a"))


def test_a_text_is_kept_as_it_came() -> None:
    assert TEXT.validate_python(f"{WHITE}é{WHITE}") == f"{WHITE}é{WHITE}"
