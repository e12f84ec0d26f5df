"""A Postgres of a project's own, outside of it, and what stands in its tables."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from projects import environment, python, run

# Runs where the project has the server and the driver that this repository does not need.
_HOLD = """
import json, sys
from pathlib import Path
import psycopg
from psycopg.rows import dict_row
from app.db.embedded import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]))
try:
    print(json.dumps(server.url), flush=True)
    with psycopg.connect(server.url, autocommit=True, row_factory=dict_row) as connection:
        for line in sys.stdin:
            query, values = json.loads(line)
            found = connection.execute(query, values or None)
            rows = found.fetchall() if found.description else []
            print(json.dumps(rows, default=str), flush=True)
finally:
    server.leave()
"""


@dataclass(frozen=True)
class Postgres:
    """`url` is what `DATABASE__URL` takes."""

    url: str
    _process: subprocess.Popen[str]

    def rows(self, query: str, *values: str) -> list[dict[str, Any]]:
        """Return what a statement finds; what JSON has no word for comes as text."""
        return list(self._ask(json.dumps([query, values])))

    def counts(self, query: str, *values: str) -> list[int]:
        """Return the one row of a query for numbers."""
        (row,) = self.rows(query, *values)
        return [int(number) for number in row.values()]

    def _ask(self, line: str) -> Any:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline() or "null")


@contextmanager
def postgres(project: Path, folder: Path) -> Iterator[Postgres]:
    """Use the embedded server of an installed `project` with the data in `folder`."""
    command: list[str | Path] = [python(project), "-c", _HOLD, folder]
    process = subprocess.Popen(
        command,
        env=environment(),
        cwd=folder.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        server = Postgres("", process)
        yield Postgres(server._answer(), process)
    assert process.returncode == 0


@contextmanager
def migrated(project: Path, folder: Path) -> Iterator[Postgres]:
    """Use it as `postgres` does, with the tables of the project."""
    with postgres(project, folder) as database:
        settings = environment(DATABASE__URL=database.url)
        run(python(project), "-m", "app", "migrate", cwd=folder.parent, env=settings)
        yield database


@contextmanager
def data_folder() -> Iterator[Path]:
    """Give a short path, as a socket needs it, where pytest does not restrict who may enter."""
    with tempfile.TemporaryDirectory(prefix="db", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "postgres"


def servers_of(folder: Path) -> list[str]:
    """Return the processes that run a Postgres with the data in `folder`."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if f"{folder} " in f"{line} "]
