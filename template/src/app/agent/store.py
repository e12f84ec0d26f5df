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

Status = Literal["queued", "running", "waiting_for_approval", "completed", "failed", "cancelled"]
ENDED: Final = ("completed", "failed", "cancelled")
Decided = Literal["approved", "denied", "expired", "cancelled"]
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
    leg: int
    call_id: str
    tool: str
    arguments: dict[str, Any]
    digest: str
    reason: str
    expires_at: datetime
    status: Decided | Literal["waiting"] = "waiting"
    decided_by: str | None = None


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
    started_at: datetime | None
    ended_at: datetime | None


def approvals_of(run: Any) -> list[Approval]:
    """Return the approvals in the row of a run."""
    return [Approval.model_validate(each) for each in run.approvals]


def none_waiting(run: Any, status: Decided) -> list[Approval]:
    """Return them with those that wait having this status."""
    approvals = approvals_of(run)
    for approval in approvals:
        approval.status = status if approval.status == "waiting" else approval.status
    return approvals


def written_approvals(approvals: Sequence[Approval]) -> str:
    """Return them as the database keeps them."""
    return _json([approval.model_dump(mode="json") for approval in approvals])


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

    @asynccontextmanager
    async def at_work(self, run_id: str, leg: int) -> AsyncGenerator[tuple[AsyncConnection, Any]]:
        """Give the same for a leg that is worked on; raise `RunOver` where that is over."""
        async with self.locked(run_id) as (connection, run):
            if run is None or run.status != "running" or run.leg != leg:
                raise RunOver
            yield connection, run

    async def emit(
        self, run_id: str, leg: int, key: str, kind: EventKind, data: dict[str, Any]
    ) -> None:
        """Add an event of a leg at work."""
        async with self.at_work(run_id, leg) as (connection, run):
            await self.add_event(connection, run.id, f"{leg}.{key}", kind, data)

    async def begin(self, run_id: str, leg: int) -> Row[Any] | None:
        """Note that a leg is worked on; return the run, or None where that is over."""
        async with self.locked(run_id) as (connection, run):
            if run is None or run.leg != leg or run.status not in ("queued", "running"):
                return None
            await self.add_event(connection, run.id, "started", "run.started")
            return (await connection.execute(text(_BEGIN), {"id": run_id})).one()

    async def end(
        self,
        run_id: str,
        leg: int,
        usage: RunUsage,
        *,
        output: str = "",
        error: str | None = None,
        conversation: Sequence[ModelMessage] = (),
    ) -> None:
        """End a run, once, and with it write what its conversation has become."""
        status: Status = "completed" if error is None else "failed"
        kind: EventKind = "run.completed" if error is None else "run.failed"
        async with self.at_work(run_id, leg) as (connection, run):
            values = {"id": run.id, "status": status, "usage": _usage_json(usage)}
            values |= {"output": storable(output), "error": storable(error)}
            await connection.execute(text(_END), values)
            if conversation and run.conversation_id:
                values = {"principal": run.principal, "id": run.conversation_id}
                values["messages"] = written(conversation)
                await connection.execute(text(_SAY), values)
            said = {"output": output} if error is None else {"error": error}
            await self.add_event(connection, run.id, "ended", kind, said)

    async def wait(
        self,
        run_id: str,
        leg: int,
        usage: RunUsage,
        approvals: Sequence[Approval],
        history: Sequence[ModelMessage],
    ) -> None:
        """End a leg, and ask for the decisions that the next one needs."""
        async with self.at_work(run_id, leg) as (connection, run):
            values: dict[str, Any] = {"usage": _usage_json(usage), "history": written(history)}
            values |= {"id": run_id, "approvals": written_approvals(approvals)}
            values["expires_at"] = min(approval.expires_at for approval in approvals)
            await connection.execute(text(_WAIT), values)
            for approval in approvals:
                told = approval.model_dump(mode="json", include=_TOLD)
                said = {"approval_id": str(approval.id), **told}
                key = f"{leg}.{approval.call_id}.approval"
                await self.add_event(connection, run.id, key, "approval.requested", said)

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


def written(messages: Sequence[ModelMessage]) -> str:
    """Return messages as pydantic-ai writes them."""
    return ModelMessagesTypeAdapter.dump_json(list(messages)).decode()


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
    return Usage.model_validate(usage, from_attributes=True).model_dump_json()


_TOLD: Final = {"tool", "arguments", "digest", "reason", "expires_at"}
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
        started_at = COALESCE(started_at, now())
    WHERE id = :id RETURNING *"""
_END: Final = """
    UPDATE agent.runs SET status = :status, output = :output, error = :error,
        usage = CAST(:usage AS jsonb), history = NULL, ended_at = now()
    WHERE id = :id"""
_WAIT: Final = """
    UPDATE agent.runs SET status = 'waiting_for_approval', usage = CAST(:usage AS jsonb),
        history = :history, approvals = approvals || CAST(:approvals AS jsonb),
        expires_at = :expires_at
    WHERE id = :id"""
_SAID: Final = "SELECT messages FROM agent.conversations WHERE principal = :principal AND id = :id"
_SAY: Final = """
    INSERT INTO agent.conversations (principal, id, messages)
    VALUES (:principal, :id, :messages)
    ON CONFLICT (principal, id) DO UPDATE SET messages = :messages, updated_at = now()"""
