"""`python -m app serve` and `python -m app doctor`: all that production needs."""

import argparse
import sys

from app.doctor import doctor
from app.serve import serve
from app.setting_names import SettingsError
from app.settings import load_settings


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
        serve(load_settings(), reload=arguments.reload)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
