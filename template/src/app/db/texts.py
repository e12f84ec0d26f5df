"""Texts that Postgres can store, as bodies of requests declare them."""

from typing import Annotated

from pydantic import AfterValidator, Field

from app.texts import BLANK, not_blank, whole


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("the character NUL cannot be stored: leave it out")
    return text


_SCHEMA = Field(json_schema_extra={"pattern": r"^[^\u0000]*$"})
_NOT_BLANK_SCHEMA = Field(json_schema_extra={"pattern": rf"^[^\u0000]*[^\u0000{BLANK}][^\u0000]*$"})
Text = Annotated[str, AfterValidator(whole), AfterValidator(_storable), _SCHEMA]
NotBlank = Annotated[Text, AfterValidator(not_blank), _NOT_BLANK_SCHEMA]
Line = Annotated[NotBlank, Field(max_length=500)]
