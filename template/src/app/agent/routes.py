"""Runs over HTTP. Whose they are follows from the key, never from the request."""

import json
import time
from contextlib import aclosing
from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from app.agent.runs import Decision, NewRun, Runs
from app.agent.store import Event, Run
from app.llm.event_stream import EventStream, Write
from app.llm.openai_answers import error_event

from app.errors import ServiceError, problems
from app.resources import Resources
from app.security import NEEDS_KEY

_STATUSES = (400, 401, 403, 413, 422, 429, 500, 503)
_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
Key = Annotated[str | None, Header(pattern=r"^[\x21-\x7e]{1,200}$")]
LastId = Annotated[int, Header(ge=0, lt=2**31, alias="Last-Event-ID")]

router = APIRouter(
    prefix="/v1/runs", tags=["runs"], dependencies=[NEEDS_KEY], responses=problems(*_STATUSES)
)


class RunList(BaseModel):
    """One page; `after` the last of these comes the next, where there were as many as asked for."""

    runs: list[Run]


@router.post("", status_code=202, responses=problems(409))
async def begin_run(body: NewRun, request: Request, idempotency_key: Key = None) -> Run:
    """Begin a run. The same `Idempotency-Key` gives the run that was begun with it before."""
    return await _runs(request).begin(_principal(request), body, idempotency_key)


@router.get("", responses=problems(404))
async def list_runs(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: UUID | None = None,
    waiting: bool = False,
) -> RunList:
    """List your runs, the newest first; with `waiting` those that wait, and to approvers all."""
    found = await _runs(request).list(_principal(request), limit, after, waiting=waiting)
    return RunList(runs=list(found))


@router.get("/{run_id}", responses=problems(404))
async def read_run(run_id: UUID, request: Request) -> Run:
    """Say how far a run is, and what waits for a decision."""
    return await _runs(request).get(_principal(request), run_id)


@router.get("/{run_id}/events", response_class=Response, responses=problems(404) | _STREAM)
async def read_events(run_id: UUID, request: Request, last_event_id: LastId = 0) -> EventStream:
    """Stream what happens in a run, up to its end; behind `Last-Event-ID` where that is sent.

    A stream that has to end before that is to be asked for again.
    """
    runs, principal = _runs(request), _principal(request)
    until = time.monotonic() + runs.stream_seconds

    async def produce(write: Write) -> None:
        async with aclosing(runs.events(principal, run_id, last_event_id)) as pages:
            async for events in pages:
                # Also where there are none yet: a client learns that it is connected.
                await write(b"".join(map(_event, events)) or b": \n\n")
                # The client reads on behind the last one: from who is there then, if need be.
                if not events and (request.app.state.stopping or time.monotonic() > until):
                    return

    return EventStream(produce, _failed)


@router.post("/{run_id}/cancel", responses=problems(404))
async def cancel_run(run_id: UUID, request: Request) -> Run:
    """End a run now. What it has done stays done."""
    return await _runs(request).cancel(_principal(request), run_id)


@router.post("/{run_id}/approvals/{approval_id}", responses=problems(404, 409))
async def decide(run_id: UUID, approval_id: UUID, body: Decision, request: Request) -> Run:
    """Approve a tool call, or deny it: once."""
    return await _runs(request).decide(_principal(request), run_id, approval_id, body)


def _event(event: Event) -> bytes:
    return f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(event.data)}\n\n".encode()


def _failed(error: ServiceError) -> bytes:
    return b"event: error\n" + error_event(error)


def _runs(request: Request) -> Runs:
    return cast(Resources, request.app.state.resources).runs


def _principal(request: Request) -> str:
    return cast(str, request.state.principal)
