"""Where evals write."""

from app.settings import Settings
from evals.engine.database import apart


def test_evals_have_a_database_of_their_own() -> None:
    settings = Settings(_env_file=None, database={"url": "postgresql://elsewhere/service"})
    assert apart(settings).database.url is None
    assert apart(settings).database.folder != settings.database.folder
