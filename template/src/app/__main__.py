"""`python -m app serve` and `python -m app doctor`: all that production needs."""

import argparse
import asyncio
import sys

from app.doctor import doctor
from app.resources import open_resources
from app.serve import serve
from app.settings import Settings, load_settings


def main() -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m app")
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", help="answer HTTP requests")
    serving.add_argument("--reload", action="store_true", help="restart when a file changes")
    examining = commands.add_parser("doctor", help="say whether this service can run, and why not")
    examining.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args()
    if arguments.command == "doctor":
        return doctor(as_json=arguments.json)
    try:
        asyncio.run(_open_and_close(settings := load_settings()))
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    serve(settings, reload=arguments.reload)
    return 0


async def _open_and_close(settings: Settings) -> None:
    """Find out before the server does, which would log a traceback, what cannot be opened."""
    async with open_resources(settings):
        pass


if __name__ == "__main__":
    sys.exit(main())
