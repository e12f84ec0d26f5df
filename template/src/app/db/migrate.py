"""Bring the tables up to date: a chain of migrations for each package that has a folder of them.

A chain has a schema of its own, called as its package, with its tables and the version they are
at, so chains come and go without one another. `python -m app migrate` runs all of them, one
process at a time; the service itself does so only for the Postgres that comes with development.
"""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from time import sleep
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from dbos import DBOS
from sqlalchemy import Connection, create_engine, inspect, make_url, text

from app.db.settings import DatabaseSettings

PACKAGES: Final = Path(__file__).parent.parent
# Whatever else takes advisory locks in this database has to have another number.
_LOCK: Final = 7_234_001
# Where the engine of the workflows keeps its own tables.
_ENGINE: Final = "dbos"


def main(settings: DatabaseSettings, new: Sequence[str] | None = None) -> None:
    """Migrate the configured database, or write the `new` migration: package and message."""
    if new:
        print(new_migration(*new))
    elif settings.url:
        asyncio.run(migrate(settings.url.get_secret_value()))
        print(f"Up to date: {', '.join(_chains(PACKAGES))}")
    else:
        print("Without DATABASE__URL the service migrates by itself when it starts.")


async def migrate(url: str, packages: Path = PACKAGES) -> None:
    """Run every chain on the Postgres at `url`, and what the workflows need."""
    await asyncio.to_thread(_migrate, url, packages)


def outdated(connection: Connection, packages: Path = PACKAGES) -> list[str]:
    """Name the chains whose newest migration has not run yet."""
    engine = [] if inspect(connection).has_table("workflow_status", _ENGINE) else [_ENGINE]
    chains = _chains(packages).items()
    return engine + [name for name, folder in chains if _is_behind(connection, name, folder)]


def new_migration(package: str, message: str, *, packages: Path = PACKAGES) -> Path:
    """Write an empty migration for `package`, after its newest; return where it is."""
    folder = packages / package / "migrations"
    if not folder.parent.is_dir():
        raise ValueError(f"There is no package {package!r} in {packages}.")
    folder.mkdir(exist_ok=True)
    number = len(list(folder.glob("*.py"))) + 1
    name = f"{package}_{number:04}"
    command.revision(_config(folder), message, rev_id=name)
    return next(folder.glob(f"{name}_*.py"))


def _migrate(url: str, packages: Path) -> None:
    # They tell each thing they do.
    for name in ("alembic", "dbos"):
        logging.getLogger(name).setLevel("WARNING")
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        # Outside of a transaction, for which an index that is built concurrently would wait.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as lock:
            # Asks again and again: who waits in a statement holds up the same index as well.
            while not lock.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}):
                sleep(0.2)
            DBOS.migrate(url)
            for name, folder in _chains(packages).items():
                with engine.begin() as connection:
                    connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{name}"'))
                    config = _config(folder)
                    config.attributes.update(connection=connection, schema=name)
                    command.upgrade(config, "head")
    finally:
        engine.dispose()


def _chains(packages: Path) -> dict[str, Path]:
    # Of a package that an update took away, a folder with what Python has compiled may be left.
    files = sorted(packages.glob("*/migrations/*.py"))
    return {file.parent.parent.name: file.parent for file in files}


def _config(folder: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "chain"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(folder).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config


def _is_behind(connection: Connection, chain: str, folder: Path) -> bool:
    """Say whether migrations of the chain wait; a newer service may have run others as well."""
    script = ScriptDirectory.from_config(_config(folder))
    known = {revision.revision for revision in script.walk_revisions()}
    at = _at(connection, chain)
    return at != tuple(script.get_heads()) and known.issuperset(at)


def _at(connection: Connection, chain: str) -> tuple[str, ...]:
    options = {"version_table": "migrations", "version_table_schema": chain}
    return MigrationContext.configure(connection, opts=options).get_current_heads()
