"""What evals write is in a database that is theirs alone, and belongs to a principal of theirs."""

from pathlib import Path
from typing import Final

from app.db.settings import DatabaseSettings

from app.settings import Settings

PRINCIPAL: Final = "evals"
_DATABASE: Final = DatabaseSettings(folder=Path(".data/evals"))


def apart(settings: Settings) -> Settings:
    """Return the settings with a database that nothing of the service's is in."""
    return settings.model_copy(update={"database": _DATABASE})
