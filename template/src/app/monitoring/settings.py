"""Settings of monitoring: `MONITORING__CAPTURE_CONTENT=true` sets `settings.monitoring`."""

from datetime import date

from pydantic import BaseModel, ConfigDict, PositiveInt


class MonitoringSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    # Whether traces hold what was written and answered, as `redact.py` leaves it.
    capture_content: bool = False
    # Who may read /metrics, by their principals; without names, whoever has a key.
    scrapers: frozenset[str] = frozenset()
    # How often what is asked and answered is compared with what it was (`drift/`): so many of the
    # last days with a reference of so many days, which ends on a day (not included), or before
    # the window where none is given.
    drift_hours: PositiveInt = 24
    drift_window_days: PositiveInt = 7
    drift_reference_days: PositiveInt = 28
    drift_reference_until: date | None = None
