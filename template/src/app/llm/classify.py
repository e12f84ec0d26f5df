"""What a text is classified as: replace the labels by your own."""

from enum import StrEnum

from pydantic import BaseModel, Field, computed_field

from app.llm.structured import Result


class Label(StrEnum):
    """What a customer's message is about, by what it mostly asks for.

    billing: an invoice, a charge, a payment, a refund.
    technical: an error, a crash, something that does not work.
    account: a login, a password, access, personal data.
    sales: a price, an offer, an order, a product before it is bought.
    other: none of these.
    """

    billing = "billing"
    technical = "technical"
    account = "account"
    sales = "sales"
    other = "other"


class Classification(BaseModel):
    """The label of a text."""

    # Before the label: a model that has written down its reason labels better.
    rationale: str = Field(description="Why this label fits best, in one sentence")
    label: Label


class Classified(Result[Classification]):
    """What a text was classified as."""

    data: Classification | None = Field(exclude=True)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def label(self) -> Label | None:
        return self.data.label if self.data else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def rationale(self) -> str | None:
        return self.data.rationale if self.data else None
