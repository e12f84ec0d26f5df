"""Whether the process lives, and whether it should get requests.

A stopping service first says that it is not ready and goes on serving, so that a load balancer
stops sending before connections are refused.
"""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fastapi import APIRouter, FastAPI, Request

from app.checks import check_all
from app.errors import Unavailable, problems

router = APIRouter(prefix="/health", tags=["health"])


@router.head("/live", include_in_schema=False)
@router.get("/live")
async def live() -> dict[str, str]:
    """Answer as long as the process can: restart it when this fails."""
    return {"status": "alive"}


@router.head("/ready", include_in_schema=False)
@router.get("/ready", responses=problems(503))
async def ready(request: Request) -> dict[str, str]:
    """Answer 200 when requests can be served, else 503 with the reason.

    What does not work, and no answer needs, is in `degraded`.
    """
    if request.app.state.stopping:
        raise Unavailable("The service is stopping.")
    results = await check_all(request.app.state.resources)
    wrong = {name: result for name, result in results.items() if not result.usable}
    if reasons := [f"{name}: {result.detail}" for name, result in wrong.items() if result.needed]:
        raise Unavailable("; ".join(reasons))
    degraded = "; ".join(f"{name}: {result.detail}" for name, result in wrong.items())
    return {"status": "ready"} | ({"degraded": degraded} if degraded else {})


@contextmanager
def unready_before_stop(app: FastAPI, delay_seconds: float) -> Iterator[None]:
    """Put a time of not being ready between SIGTERM and the server's own shutdown."""
    app.state.stopping = False
    stop = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(stop):
        yield
        return
    loop = asyncio.get_running_loop()

    def refuse_then_stop(number: int, frame: FrameType | None) -> None:
        if app.state.stopping:
            return
        app.state.stopping = True
        loop.call_soon_threadsafe(loop.call_later, delay_seconds, stop, number, frame)

    signal.signal(signal.SIGTERM, refuse_then_stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, stop)
