"""Run the server with this service's settings."""

import math
import signal
import sys

import structlog
import uvicorn

from app.setting_names import unknown_settings
from app.settings import Settings
from app.telemetry import configure_logs


def serve(settings: Settings, *, reload: bool = False) -> None:
    """Serve until SIGTERM or Ctrl-C, then let open requests end and leave with exit code 0."""
    configure_logs(settings.log.level, settings.log.format)
    for sentence in unknown_settings(Settings):
        structlog.stdlib.get_logger("app.serve").warning(sentence)
    # The server raises the signal again once it has stopped; here it means a clean end.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    uvicorn.run(
        "app.main:create_app",
        factory=True,
        host=settings.server.host,
        port=settings.server.port,
        workers=None if reload else settings.server.workers,
        reload=reload,
        reload_dirs=["src"] if reload else None,
        timeout_graceful_shutdown=math.ceil(settings.server.longest_seconds),
        # Anyone can send these headers; the gate has to see who really connects.
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
    )
