"""Runs, events and approvals as the database keeps them; whoever changes a run has locked it.

Ids of an event have no gap, and the same key is written once: so a replay writes nothing again, and
whoever reads on from an id misses nothing.
"""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from math import isfinite
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter
from pydantic_ai.usage import RunUsage
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from app.llm.failures import sendable

from app.errors import NotFound

Status = Literal["queued", "running", "waiting_for_approval", "completed", "failed", "cancelled"]
ENDED: Final = ("completed", "failed", "cancelled")
EventKind = Literal[
    "run.started",
    "step",
    "tool.call",
    "tool.result",
    "approval.requested",
    "text",
    "run.completed",
    "run.failed",
    "run.cancelled",
]


class RunOver(BaseException):
    """The run was ended, or is worked on elsewhere. As a cancellation, nothing may catch it."""


class Event(NamedTuple):
    id: int
    kind: EventKind
    data: dict[str, Any]


class Approval(BaseModel):
    """A tool call that waits for a decision, or had one; whoever decides names the digest."""

    id: UUID
    tool: str
    arguments: dict[str, Any]
    digest: str
    reason: str
    expires_at: datetime
    status: Literal["waiting", "approved", "denied", "expired"]


class Usage(BaseModel):
    requests: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class Run(BaseModel):
    """A run as its principal sees it."""

    id: UUID
    agent: str
    status: Status
    input: str
    conversation_id: str | None
    output: str
    error: str | None
    approvals: list[Approval]
    usage: Usage
    created_at: datetime
    ended_at: datetime | None


class Call(BaseModel, frozen=True):
    """A tool call that somebody has to decide on."""

    call_id: str
    tool: str
    arguments: dict[str, Any]
    digest: str
    reason: str


class Store:
    """What is in the schema `agent`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def locked(self, run_id: UUID | str) -> AsyncGenerator[tuple[AsyncConnection, Any]]:
        """Give a transaction and the run, which nobody else changes; None where there is none."""
        query = "SELECT * FROM agent.runs WHERE id = :id FOR UPDATE"
        async with self._database.begin() as connection:
            row = (await connection.execute(text(query), {"id": run_id})).one_or_none()
            yield connection, row

    async def add_event(
        self, connection: AsyncConnection, run_id: UUID, key: str, kind: EventKind, data: Any = None
    ) -> None:
        """Add an event of a locked run, the same key only once."""
        values = {"id": run_id, "key": key, "kind": kind, "data": _json(data or {})}
        await connection.execute(text(_ADD_EVENT), values)

    async def emit(
        self, run_id: str, leg: int, key: str, kind: EventKind, data: dict[str, Any]
    ) -> None:
        """Add an event of a leg at work; raise `RunOver` where that leg is over."""
        async with self.locked(run_id) as (connection, run):
            if run is None or run.status != "running" or run.leg != leg:
                raise RunOver
            await self.add_event(connection, run.id, f"{leg}.{key}", kind, data)

    async def begin(self, run_id: str, leg: int, seconds: float) -> Row[Any] | None:
        """Note that a leg is worked on; return the run, or None where that is over."""
        async with self.locked(run_id) as (connection, run):
            if run is None or run.leg != leg or run.status not in ("queued", "running"):
                return None
            await self.add_event(connection, run.id, "started", "run.started")
            result = await connection.execute(text(_BEGIN), {"id": run_id, "seconds": seconds})
            return result.one()

    async def end(
        self,
        run_id: str,
        leg: int,
        status: Status,
        *,
        history: bytes | None = None,
        usage: RunUsage | None = None,
        conversation: bytes | None = None,
        output: str = "",
        error: str | None = None,
    ) -> None:
        """End a run, once, and with it write what its conversation has become."""
        async with self.locked(run_id) as (connection, run):
            if run is None or run.status != "running" or run.leg != leg:
                return
            values = {"status": status, "output": storable(output), "error": error, "ended": True}
            await self._settle(connection, run, history, usage, **values)
            if conversation and run.conversation_id:
                said = {"principal": run.principal, "id": run.conversation_id}
                await connection.execute(text(_SAY), {**said, "messages": conversation.decode()})
            said = {"output": output} if error is None else {"error": error}
            kind: EventKind = "run.completed" if status == "completed" else "run.failed"
            await self.add_event(connection, run.id, "ended", kind, said)

    async def wait(
        self,
        run_id: str,
        leg: int,
        calls: Sequence[Call],
        seconds: float,
        history: bytes,
        usage: RunUsage,
    ) -> None:
        """End a leg, and ask for the decisions that the next one needs."""
        async with self.locked(run_id) as (connection, run):
            if run is None or run.status != "running" or run.leg != leg:
                return
            waiting = {"status": "waiting_for_approval", "output": "", "error": None}
            await self._settle(connection, run, history, usage, ended=False, **waiting)
            for call in calls:
                values = {**call.model_dump(), "arguments": _json(call.arguments)}
                values |= {"id": run_id, "leg": leg, "seconds": seconds}
                added = (await connection.execute(text(_ADD_APPROVAL), values)).one()
                said = {
                    "approval_id": str(added.id),
                    "expires_at": added.expires_at.isoformat(),
                    **call.model_dump(include={"tool", "arguments", "digest", "reason"}),
                }
                key = f"{leg}.{call.call_id}.approval"
                await self.add_event(connection, run.id, key, "approval.requested", said)

    async def decisions(self, run_id: str, leg: int) -> Sequence[Row[Any]]:
        """Return what was decided after `leg`."""
        query = "SELECT * FROM agent.approvals WHERE run_id = :id AND leg = :leg"
        async with self._database.begin() as connection:
            return (await connection.execute(text(query), {"id": run_id, "leg": leg})).all()

    async def conversation(self, principal: str, name: str) -> list[ModelMessage]:
        """Return what was said in a conversation of the principal's; nothing where it begins."""
        values = {"principal": principal, "id": name}
        async with self._database.begin() as connection:
            found = await connection.scalar(text(_SAID), values)
        return ModelMessagesTypeAdapter.validate_json(found) if found else []

    async def events(self, run_id: UUID, after: int) -> tuple[list[Event], bool]:
        """Return up to 200 events behind the one with the id `after`, and whether that is all."""
        values = {"id": run_id, "after": after}
        async with self._database.begin() as connection:
            # First: what ended a run stands before its last event is read.
            status = await connection.scalar(text(_STATUS), values)
            events = [Event(*row) for row in await connection.execute(text(_EVENTS), values)]
        return events, len(events) < _PAGE and status in (None, *ENDED)

    async def read(self, connection: AsyncConnection, run_id: UUID, principal: str | None) -> Run:
        """Return a run; raise `NotFound` unless it is the principal's. None sees all."""
        values = {"id": run_id, "principal": principal}
        rows = await connection.execute(text(f"{_RUNS} AND id = :id"), values)
        row = rows.mappings().one_or_none()
        if row is None:
            raise NotFound(f"There is no run {run_id}.")
        return Run.model_validate(dict(row))

    async def list(
        self, principal: str | None, limit: int, after: UUID | None = None, *, waiting: bool = False
    ) -> list[Run]:
        """Return the newest runs, or those that wait, from behind the run `after`."""
        values = {"principal": principal, "limit": limit, "after": after}
        only = "AND status = 'waiting_for_approval'" if waiting else ""
        behind = "AND (created_at, id) < (SELECT created_at, id FROM agent.runs WHERE id = :after)"
        query = f"{_RUNS} {only} {behind if after else ''} ORDER BY created_at DESC, id DESC"
        async with self._database.begin() as connection:
            if after:
                await self.read(connection, after, principal)
            rows = await connection.execute(text(f"{query} LIMIT :limit"), values)
            return [Run.model_validate(dict(row)) for row in rows.mappings()]

    async def _settle(
        self,
        connection: AsyncConnection,
        run: Any,
        history: bytes | None,
        usage: RunUsage | None,
        **values: Any,
    ) -> None:
        values |= {"id": run.id, "history": history.decode() if history else None}
        values["usage"] = _usage_json(usage) if usage else None
        await connection.execute(text(_SETTLE), values)


def storable(value: Any) -> Any:
    """Return what Postgres can store as JSON: no NUL, no half of a surrogate pair, no NaN."""
    match value:
        case str():
            return sendable(value).replace("\0", "\N{REPLACEMENT CHARACTER}")
        case float() if not isfinite(value):
            return str(value)
        case dict():
            return {storable(key): storable(each) for key, each in value.items()}
        case list() | tuple():
            return [storable(each) for each in value]
    return value


def _json(value: Any) -> str:
    return json.dumps(storable(value))


def _usage_json(usage: RunUsage) -> str:
    kept = {name: getattr(usage, name) for name in Usage.model_fields}
    return json.dumps(kept)


_RUNS: Final = """
    SELECT id, agent, status, input, conversation_id, output, error, created_at, ended_at,
        COALESCE(usage, '{}') AS usage,
        (SELECT COALESCE(jsonb_agg(to_jsonb(a) ORDER BY a.leg, a.call_id), '[]')
         FROM agent.approvals a WHERE a.run_id = runs.id) AS approvals
    FROM agent.runs WHERE (CAST(:principal AS text) IS NULL OR principal = :principal)"""
_ADD_EVENT: Final = """
    WITH added AS (
        INSERT INTO agent.events (run_id, id, key, kind, data)
        SELECT id, last_event + 1, :key, :kind, CAST(:data AS jsonb) FROM agent.runs WHERE id = :id
        ON CONFLICT (run_id, key) DO NOTHING RETURNING id)
    UPDATE agent.runs SET last_event = added.id FROM added WHERE runs.id = :id"""
_PAGE: Final = 200
_STATUS: Final = "SELECT status FROM agent.runs WHERE id = :id"
_EVENTS: Final = f"""
    SELECT id, kind, data FROM agent.events WHERE run_id = :id AND id > :after
    ORDER BY id LIMIT {_PAGE}"""
_BEGIN: Final = """
    UPDATE agent.runs SET status = 'running', attempts = attempts + 1,
        deadline = COALESCE(deadline, now() + make_interval(secs => :seconds))
    WHERE id = :id RETURNING *, EXTRACT(epoch FROM deadline - now())::float AS seconds_left"""
_SETTLE: Final = """
    UPDATE agent.runs SET status = :status, output = :output, error = :error,
        history = COALESCE(:history, history), usage = COALESCE(CAST(:usage AS jsonb), usage),
        ended_at = CASE WHEN :ended THEN now() END
    WHERE id = :id"""
_SAID: Final = "SELECT messages FROM agent.conversations WHERE principal = :principal AND id = :id"
_SAY: Final = """
    INSERT INTO agent.conversations (principal, id, messages)
    VALUES (:principal, :id, :messages)
    ON CONFLICT (principal, id) DO UPDATE SET messages = :messages, updated_at = now()"""
_ADD_APPROVAL: Final = """
    INSERT INTO agent.approvals
        (run_id, leg, call_id, tool, arguments, digest, reason, expires_at)
    VALUES (:id, :leg, :call_id, :tool, CAST(:arguments AS jsonb), :digest, :reason,
        now() + make_interval(secs => :seconds))
    RETURNING id, expires_at"""
