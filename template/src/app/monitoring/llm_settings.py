"""Settings of monitoring where there are models: another one to ask, and what is compared."""

from datetime import date
from typing import Annotated

from pydantic import Field

from app.monitoring.ledger_settings import Days, LedgerSettings

DriftDays = Annotated[int, Field(ge=1, le=3_650)]


class LLMMonitoringSettings(LedgerSettings):
    # One of the models here, asked instead of the others once this part of a budget is used up.
    cheaper_model: str | None = None
    cheaper_from: Annotated[float, Field(ge=0, le=1)] = 0.8
    # How long it is kept what callers got.
    keep_days: Days = 90
    # How often what is asked and answered is compared with what it was (`drift/`): so many of the
    # last days with a reference of so many days, which ends on a day (not included), or before
    # the window where none is given.
    drift_hours: Annotated[int, Field(ge=1, le=8_760)] = 24
    drift_window_days: DriftDays = 7
    drift_reference_days: DriftDays = 28
    drift_reference_until: Annotated[date, Field(ge=date(2000, 1, 1))] | None = None
