"""What the tests of the database share: one that is migrated, and one that is not."""

import uuid
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from app.db.engine import Database, open_database
from app.db.settings import DatabaseSettings

from tests.db.plugin import create_database


@pytest.fixture
async def database(fresh_database: str) -> AsyncIterator[Database]:
    async with open_database(DatabaseSettings(url=SecretStr(fresh_database))) as database:
        yield database


@pytest.fixture
def blank_database(postgres: str) -> str:
    """The address of a database in which nothing has been migrated."""
    return create_database(postgres, f"blank_{uuid.uuid4().hex}")
