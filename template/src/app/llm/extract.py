"""What is extracted from a document: replace the fields of `Document` by your own.

Names, types and descriptions are what the model is told about them, and what `/openapi.json` says.
"""

from datetime import date
from decimal import Decimal
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from app.llm.structured import Result

Amount = Annotated[Decimal, Field(max_digits=15)]


class Line(BaseModel):
    """One position of an invoice."""

    description: str
    quantity: Amount = Decimal(1)
    unit_price: Amount
    amount: Amount


class Document(BaseModel):
    """An invoice of a supplier."""

    supplier: str
    invoice_number: str
    issued_on: date
    due_on: date | None = None
    currency: str = Field(pattern="^[A-Z]{3}$", description="As in ISO 4217, such as EUR")
    lines: list[Line] = []
    net: Amount | None = None
    tax: Amount | None = None
    total: Amount = Field(description="What has to be paid, with tax")

    @model_validator(mode="after")
    def add_up(self) -> Self:
        if self.net is not None and self.tax is not None and self.net + self.tax != self.total:
            raise ValueError(f"net {self.net} and tax {self.tax} are not the total {self.total}")
        return self


class Extraction(Result[Document]):
    """What was found in a document."""
