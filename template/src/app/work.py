"""Run a process that works the queues, and does nothing else."""

import asyncio
import signal

from app.resources import open_resources
from app.settings import Settings
from app.telemetry import configure_logs


def work(settings: Settings) -> None:
    """Work until SIGTERM or Ctrl-C."""
    configure_logs(settings.log.level, settings.log.format)
    asyncio.run(_work(settings))


async def _work(settings: Settings) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with open_resources(settings) as resources, resources.worker.working():
        await stopped.wait()
