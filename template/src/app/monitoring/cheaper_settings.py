"""Settings of monitoring where there are models."""

from typing import Annotated

from pydantic import Field, PositiveInt

from app.monitoring.ledger_settings import LedgerSettings


class CheaperSettings(LedgerSettings):
    # One of the models here, asked instead of the others once this part of a budget is used up.
    cheaper_model: str | None = None
    cheaper_from: Annotated[float, Field(ge=0, le=1)] = 0.8
    # How long it is kept what callers got, and how they rated it.
    keep_days: PositiveInt = 90
