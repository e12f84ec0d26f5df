"""Texts that Postgres can store, as bodies of requests declare them."""

from typing import Annotated

from pydantic import AfterValidator, Field


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("the character NUL cannot be stored: leave it out")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair cannot be stored: leave it out") from None
    return text


_SCHEMA = Field(json_schema_extra={"pattern": r"^[^\u0000]*$"})
Text = Annotated[str, AfterValidator(_storable), _SCHEMA]
Line = Annotated[Text, Field(pattern=r"\S", max_length=500)]
