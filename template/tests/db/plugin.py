"""One Postgres for all tests. Each has a database there that is migrated, and no worker.

Tests that write ask for `fresh_database`: a copy of their own, which takes some hundredths of a
second.
"""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from app.db.embedded import EmbeddedPostgres
from app.db.migrate import migrate


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a running server, without any of the service's tables."""
    # Not in pytest's folder: another run closes that to the user that Postgres has under root.
    with TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "data")
        with psycopg.connect(server.url, autocommit=True) as connection:
            # What it keeps need not outlive a loss of power.
            for name in ("fsync", "full_page_writes", "synchronous_commit"):
                connection.execute(
                    sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(name))
                )
            connection.execute("SELECT pg_reload_conf()")
        yield server.url
        server.leave()


@pytest.fixture(scope="session")
def migrated_database(postgres: str) -> str:
    """The address of a database to read: what the service notes of itself may be in it, too."""
    asyncio.run(migrate(create_database(postgres, "pristine")))
    return create_database(postgres, "migrated", template="pristine")


@pytest.fixture(autouse=True)
def shared_database(
    no_ambient_settings: None, monkeypatch: pytest.MonkeyPatch, migrated_database: str
) -> str:
    """Settings that name no other database have this one."""
    monkeypatch.setenv("DATABASE__URL", migrated_database)
    monkeypatch.setenv("WORKER__IN_PROCESS", "false")
    return migrated_database


@pytest.fixture
def fresh_database(
    shared_database: str, monkeypatch: pytest.MonkeyPatch, postgres: str
) -> Iterator[str]:
    """An empty database of the test's own, which settings name."""
    name = f"test_{uuid.uuid4().hex}"
    url = create_database(postgres, name, template="pristine")
    monkeypatch.setenv("DATABASE__URL", url)
    yield url
    with psycopg.connect(postgres, autocommit=True) as connection:
        drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
        connection.execute(drop)


def create_database(server: str, name: str, template: str = "template1") -> str:
    """Create a database on `server`; return its address."""
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return make_url(server).set(database=name).render_as_string(hide_password=False)
