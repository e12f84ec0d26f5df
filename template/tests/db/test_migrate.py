"""Chains of migrations: each package's own, all of them run, one process at a time."""

import asyncio
import shutil
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, NullPool, create_engine, make_url, text

from app.db.migrate import main, migrate, new_migration, outdated
from app.db.settings import DatabaseSettings

MAKE_TABLE = 'op.execute("CREATE TABLE notes.pages (words text)")'
FILL_TABLE = "op.execute(\"INSERT INTO notes.pages VALUES ('kept')\")"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder of packages: `notes` has a chain of one migration, `plain` has none."""
    for name in ("notes", "plain"):
        (tmp_path / "packages" / name).mkdir(parents=True)
    write(tmp_path / "packages", MAKE_TABLE)
    return tmp_path / "packages"


def write(packages: Path, statement: str) -> Path:
    """Write the next migration of `notes`, as its owner does."""
    path = new_migration("notes", "pages", packages=packages)
    path.write_text(path.read_text().replace('op.execute("")', statement))
    return path


def migrated(url: str, packages: Path) -> None:
    asyncio.run(migrate(url, packages))


def engine(url: str) -> Engine:
    return create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)


def words(url: str) -> list[str]:
    with engine(url).connect() as connection:
        return list(connection.scalars(text("SELECT words FROM notes.pages")))


def behind(url: str, packages: Path) -> list[str]:
    with engine(url).connect() as connection:
        return outdated(connection, packages)


def test_every_chain_runs_once(blank_database: str, packages: Path) -> None:
    write(packages, FILL_TABLE)
    migrated(blank_database, packages)
    migrated(blank_database, packages)
    assert words(blank_database) == ["kept"]


def test_two_processes_that_migrate_at_once_do_it_one_by_one(
    blank_database: str, packages: Path
) -> None:
    write(packages, f"{FILL_TABLE}; op.execute('SELECT pg_sleep(0.1)')")

    async def twice() -> None:
        await asyncio.gather(*(migrate(blank_database, packages) for _ in range(2)))

    asyncio.run(twice())
    assert words(blank_database) == ["kept"]


def test_tables_stay_when_their_package_is_gone_and_go_on_when_it_is_back(
    blank_database: str, packages: Path, tmp_path: Path
) -> None:
    migrated(blank_database, packages)
    shutil.move(packages / "notes", tmp_path / "aside")
    # What Python has compiled is left where an update took the package away.
    (packages / "notes/migrations/__pycache__").mkdir(parents=True)
    migrated(blank_database, packages)
    assert behind(blank_database, packages) == []
    shutil.copytree(tmp_path / "aside", packages / "notes", dirs_exist_ok=True)
    write(packages, FILL_TABLE)
    assert behind(blank_database, packages) == ["notes"]
    migrated(blank_database, packages)
    assert words(blank_database) == ["kept"]


def test_a_chain_is_outdated_until_it_has_run(blank_database: str, packages: Path) -> None:
    assert behind(blank_database, packages) == ["dbos", "notes"]
    migrated(blank_database, packages)
    assert behind(blank_database, packages) == []


def test_a_migration_that_fails_leaves_nothing_and_can_be_mended(
    blank_database: str, packages: Path
) -> None:
    migrated(blank_database, packages)
    wrong = write(packages, f"{FILL_TABLE}; op.execute('SELECT 1 / 0')")
    with pytest.raises(Exception, match="division by zero"):
        migrated(blank_database, packages)
    assert words(blank_database) == []
    wrong.write_text(wrong.read_text().replace("SELECT 1 / 0", "SELECT 1"))
    migrated(blank_database, packages)
    assert words(blank_database) == ["kept"]


def test_a_new_migration_comes_after_the_newest_and_says_what_it_does(packages: Path) -> None:
    path = new_migration("notes", "count the pages", packages=packages)
    assert path.name == "notes_0002_count_the_pages.py"
    assert path.read_text().startswith('"""Count the pages."""\n')
    assert 'down_revision = "notes_0001"' in path.read_text().replace("'", '"')


def test_the_first_migration_of_a_package_begins_its_chain(
    blank_database: str, packages: Path
) -> None:
    assert new_migration("plain", "begin", packages=packages).name == "plain_0001_begin.py"
    assert "plain" in behind(blank_database, packages)


def test_a_migration_for_no_package_is_refused(packages: Path) -> None:
    with pytest.raises(ValueError, match=r"^There is no package 'letters' in "):
        new_migration("letters", "begin", packages=packages)


def test_the_command_migrates_what_the_settings_name(
    blank_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(DatabaseSettings(url=SecretStr(blank_database)))
    assert "Up to date: " in capsys.readouterr().out
    with engine(blank_database).connect() as connection:
        assert outdated(connection) == []


def test_the_command_has_nothing_to_do_for_the_database_of_development(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(DatabaseSettings())
    assert "migrates by itself" in capsys.readouterr().out
