"""`poe drift`: compare now, and print what is found."""

import argparse
import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from app.errors import ServiceError
from app.resources import open_resources
from app.settings import load_settings
from app.telemetry import configure_logs


async def report() -> str:
    """Return the report of the days up to now; it is not kept."""
    async with open_resources(load_settings()) as resources:
        return (await resources.drift.compare(datetime.now(UTC))).in_words()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the report; a failure is one line and exit code 1."""
    parser = argparse.ArgumentParser(
        prog="poe drift", description="Say whether what is asked and answered has changed."
    )
    parser.parse_args(arguments)
    configure_logs("WARNING", "console")
    try:
        print(asyncio.run(report()))
    except (ServiceError, ValueError) as error:
        detail = error.detail if isinstance(error, ServiceError) else error
        parser.exit(1, f"{detail}\n")
    except KeyboardInterrupt:
        parser.exit(130)


if __name__ == "__main__":
    main()
