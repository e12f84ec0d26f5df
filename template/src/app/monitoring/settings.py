"""Settings of monitoring: `MONITORING__CAPTURE_CONTENT=true` sets `settings.monitoring`."""

from pydantic import BaseModel, ConfigDict


class MonitoringSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    # Whether what was written and answered is kept, as `redact.py` leaves it.
    capture_content: bool = False
    # Who may read /metrics, by their principals; without names, whoever has a key.
    scrapers: frozenset[str] = frozenset()
