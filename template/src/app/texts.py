"""Texts that are not blank, as bodies of requests declare them."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

# White space in some language of patterns: \s is not the same in Python and in JavaScript.
BLANK: Final = r"\s\x1c-\x1f\x85\ufeff"


def whole(text: str) -> str:
    """Return `text`; raise `ValueError` where it holds what is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair is no character: leave it out") from None
    return text


def not_blank(text: str) -> str:
    """Return `text`; raise `ValueError` where there is nothing to read in it."""
    if not re.search(f"[^{BLANK}]", text):
        raise ValueError("a blank text says nothing: write one")
    return text


_SCHEMA = Field(json_schema_extra={"pattern": f"[^{BLANK}]"})
NotBlank = Annotated[str, AfterValidator(whole), AfterValidator(not_blank), _SCHEMA]
