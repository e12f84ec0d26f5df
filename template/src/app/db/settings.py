"""Settings of the database: `DATABASE__URL=postgresql://…` sets `settings.database.url`."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, PositiveInt, SecretStr


def _postgres(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("use postgresql://user:password@host:5432/name")
    return url


class DatabaseSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    # Without one, a Postgres that development tools bring starts by itself.
    url: Annotated[SecretStr, AfterValidator(_postgres)] | None = None
    # Connections of one process, for requests and for what it works on.
    pool_size: PositiveInt = 5
    # Where the Postgres for development keeps its data.
    folder: Path = Path(".data/postgres")

    def missing_in_production(self) -> list[str]:
        """Name what a service lacks whose data must be kept."""
        return [] if self.url else ["DATABASE__URL"]
