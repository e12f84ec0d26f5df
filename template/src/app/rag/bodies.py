"""What clients send about documents: only what Postgres can store, and filters can find again."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, FiniteFloat
from pydantic_core import from_json

from app.db.texts import Line, NotBlank, Text


def _decoded(given: Any) -> Any:
    return from_json(given) if isinstance(given, str) else given


def _no_integer(given: Any) -> Any:
    if isinstance(given, int):
        raise ValueError("an integer is at least -2**63 and less than 2**63")
    return given


# `strict`: a number that is no integer is none, and the text "1" is no number.
Scalar = (
    Annotated[bool, Field(strict=True)]
    | Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
    | Annotated[FiniteFloat, Field(strict=True), BeforeValidator(_no_integer)]
    | Annotated[Text, Field(max_length=1_000)]
    | None
)
Metadata = Annotated[
    dict[Line, Scalar | Annotated[list[Scalar], Field(max_length=100)]],
    Field(
        max_length=50,
        description="Flat: names, and values or lists of them to filter by",
        # The schema says what a name may be like, and would allow any other besides.
        json_schema_extra={"additionalProperties": False},
    ),
]


class UploadBody(BaseModel, extra="forbid"):
    """What stands beside an uploaded file; in a form, `metadata` is JSON."""

    title: Line
    metadata: Annotated[Metadata, BeforeValidator(_decoded)] = {}
    source_id: Line | None = Field(None, description="What you call it; else its content decides")


class DocumentBody(UploadBody):
    """A document as text."""

    text: NotBlank
    media_type: Literal["text/markdown", "text/plain", "text/html"] = "text/markdown"


class SearchBody(BaseModel, extra="forbid"):
    """A question, or words that stand in the documents."""

    query: NotBlank = Field(max_length=4_000)
    limit: int = Field(8, ge=1, le=50)
    filter: Metadata | None = Field(None, description="Metadata that the document has to have")
