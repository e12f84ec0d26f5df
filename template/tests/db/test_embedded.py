"""The Postgres of development: it starts by itself, is shared, and nothing of it is left."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from psycopg import connect

from app.db.embedded import EmbeddedPostgres
from app.db.engine import open_database
from app.db.settings import DatabaseSettings

USE = """
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from app.db.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.url, flush=True)
sys.stdin.read()
server.leave()
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Where all of these tests have their server, for to make one takes seconds.

    Not in pytest's folder: another run closes that to the user that Postgres has under root.
    """
    with TemporaryDirectory() as parent:
        yield Path(parent) / "data"


@contextmanager
def process(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, *map(str, arguments)]
    running = subprocess.Popen(  # noqa: S603 - the command is this test's own
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def stop(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Run `poe db stop`; return its exit code and what it said."""
    monkeypatch.setenv("DATABASE__FOLDER", str(folder))
    with process("-m", "app.db.embedded", "stop") as stopping:
        output, _ = stopping.communicate(timeout=30)
        return stopping.returncode, output


def runs(folder: Path) -> bool:
    return (folder / "postmaster.pid").exists()


def answers(url: str) -> bool:
    with connect(url) as connection:
        return connection.execute("SELECT true").fetchone() == (True,)


@pytest.mark.anyio
async def test_it_starts_and_migrates_by_itself_and_stops_with_its_only_user(folder: Path) -> None:
    async with open_database(DatabaseSettings(folder=folder)) as database:
        assert not runs(folder)
        assert await database.check() == f"embedded, in {folder}"
        assert runs(folder)
    assert not runs(folder)


def test_a_database_that_nobody_needed_was_never_started(tmp_path: Path) -> None:
    async def open_and_close() -> None:
        async with open_database(DatabaseSettings(folder=tmp_path / "data")):
            pass

    asyncio.run(open_and_close())
    assert list(tmp_path.iterdir()) == []


def test_processes_share_it_and_the_last_one_stops_it(folder: Path) -> None:
    with process("-c", USE, folder) as other:
        assert other.stdout
        url = other.stdout.readline().strip()
        server = EmbeddedPostgres(folder)
        assert server.url == url
        assert server.leave() == [other.pid]
        assert answers(url)
        other.communicate(timeout=30)
    assert not runs(folder)


def test_a_process_that_left_it_to_others_may_come_back(folder: Path) -> None:
    with process("-c", USE, folder) as other:
        assert other.stdout
        other.stdout.readline()
        EmbeddedPostgres(folder).leave()
        server = EmbeddedPostgres(folder)
        other.communicate(timeout=30)
        assert answers(server.url)
    assert server.leave() == []
    assert not runs(folder)


def test_a_killed_user_does_not_keep_it_running(folder: Path) -> None:
    with process("-c", USE, folder) as killed:
        assert killed.stdout
        killed.stdout.readline()
    assert runs(folder)
    server = EmbeddedPostgres(folder)
    assert answers(server.url)
    assert server.leave() == []
    assert not runs(folder)


def test_what_a_killed_process_left_running_is_stopped_by_a_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with process("-c", USE, folder) as killed:
        assert killed.stdout
        killed.stdout.readline()
    assert stop(folder, monkeypatch) == (0, "Stopped.\n")
    assert not runs(folder)


def test_the_command_leaves_it_to_those_who_use_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedPostgres(folder)
    code, output = stop(folder, monkeypatch)
    assert (code, output) == (1, f"Still used by processes [{os.getpid()}].\n")
    assert answers(server.url)
    server.leave()


def test_the_command_has_nothing_to_stop_where_there_was_never_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, output = stop(tmp_path / "data", monkeypatch)
    assert (code, output) == (0, f"There is no database in {tmp_path / 'data'}.\n")


def test_a_new_folder_keeps_itself_out_of_version_control_and_one_that_was_there_does_not() -> None:
    with TemporaryDirectory() as there:
        for folder in (Path(there, "new", "data"), Path(there, "data")):
            EmbeddedPostgres(folder).leave()
        assert Path(there, "new", ".gitignore").read_text() == "*\n"
        assert not Path(there, ".gitignore").exists()


def test_it_starts_in_a_folder_whose_name_has_a_space() -> None:
    with TemporaryDirectory(prefix="with a space") as there:
        server = EmbeddedPostgres(Path(there) / "data")
        assert answers(server.url)
        server.leave()


def test_what_a_killed_first_start_has_left_is_made_anew() -> None:
    with TemporaryDirectory() as there:
        folder = Path(there) / "data"
        folder.mkdir()
        # As initdb leaves it: the number of the process is negative, and lines are missing.
        (folder / "postmaster.pid").write_text("-1234\n/data\n1795636434\n5432\n")
        (folder / "PG_VERSION").write_text("18\n")
        server = EmbeddedPostgres(folder)
        assert answers(server.url)
        server.leave()
