"""Settings of monitoring where there is something that costs money."""

from collections.abc import Collection
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.monitoring.settings import MonitoringSettings

# As many as a database can count back.
Days = Annotated[int, Field(ge=1, le=36_500)]
Name = Annotated[str, StringConstraints(min_length=1)]
USD = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]
Price = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]


class TokenPrices(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Price
    output: Price


class LedgerSettings(MonitoringSettings):
    # Who sees in /v1/usage what everybody's calls cost; others see their own.
    readers: frozenset[str] = frozenset()
    # What calls may cost in a day, by UTC: all together, and those of a principal.
    daily_budget_usd: USD | None = None
    daily_budgets_usd: dict[Name, USD] = Field(default_factory=dict)
    # Of a model that no list has, or that costs you something else: by its name at the provider.
    prices_usd_per_million: dict[str, TokenPrices] = Field(default_factory=dict)
    # How long calls are kept.
    ledger_days: Days = 400

    def missing_in_production(self, principals: Collection[str]) -> list[str]:
        """Say what is not set, and has to be: whoever has a budget needs a key."""
        unknown = [name for name in self.daily_budgets_usd if name not in principals]
        return [f"a key in SECURITY__API_KEYS for {name}, who has a budget" for name in unknown]
