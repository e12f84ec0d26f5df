"""Runs as those who begin them see them: begun, read, decided on, cancelled.

Nothing is run here. Work is queued in the transaction that makes it necessary: the one that begins
a run, or the one that takes the last decision a run waits for.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.agent.settings import AgentSettings
from app.agent.store import (
    ENDED,
    Approval,
    Event,
    Run,
    Store,
    approvals_of,
    none_waiting,
    written_approvals,
)
from app.db.engine import Database
from app.db.texts import Line, NotBlank
from app.workflows.queue import Queue

from app.errors import (
    Forbidden,
    InvalidRequest,
    NotFound,
    ServiceError,
    TooManyRequests,
    Unavailable,
)

RUN: Final = "run"
# What is said of a run that failed by a fault of ours.
FAULT: Final = "Something failed here; the logs of the worker have it."
_POLL_SECONDS: Final = 0.3


class Conflict(ServiceError):
    status, code = 409, "conflict"


class NewRun(BaseModel, extra="forbid"):
    """What is to be done. `research` plans, looks into several questions at once, and reports."""

    input: NotBlank = Field(max_length=20_000)
    agent: Literal["assistant", "research"] = "assistant"
    conversation_id: Line | None = Field(None, description="What you call it; runs of one follow")

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.model_dump_json(exclude_defaults=True).encode()).hexdigest()


class Decision(BaseModel, extra="forbid"):
    """`digest` is the approval's: it says which arguments were looked at."""

    approved: bool
    digest: str


class Runs:
    """All runs. There is no way to reach one without its principal, but for those who approve."""

    def __init__(
        self, database: Database, queue: Queue, settings: AgentSettings, stream_seconds: float
    ) -> None:
        self.stream_seconds = stream_seconds
        self._database = database
        self._store = Store(database)
        self._queue = queue
        self._settings = settings

    async def begin(self, principal: str, new: NewRun, key: str | None = None) -> Run:
        """Begin a run, or return the one that was begun with the same idempotency key.

        Raises `InvalidRequest` where that was another request, `Conflict` where the conversation
        has an open run, `TooManyRequests` beyond the limit, `Unavailable` with agents off.
        """
        values = {"principal": principal, "key": key, "hash": new.hash, **new.model_dump()}
        async with self._database.begin() as connection:
            # One by one, so that nobody slips past a limit or claims a key twice.
            await connection.execute(text(_ONE_BY_ONE), values)
            if key and (found := (await connection.execute(text(_CLAIMED), values)).first()):
                if found.request_hash != new.hash:
                    raise InvalidRequest(
                        "This Idempotency-Key belongs to another request: choose a new one.",
                        param="Idempotency-Key",
                    )
                return await self._read(connection, found.id, principal)
            await self._refuse_too_much(connection, values)
            run_id = await connection.scalar(text(_ADD), values)
            await self._enqueue(connection, run_id, 1, principal)
            return await self._read(connection, run_id, principal)

    async def get(self, principal: str, run_id: UUID) -> Run:
        """Return a run; raise `NotFound` unless it is the principal's, or theirs to approve."""
        async with self._database.begin() as connection:
            return await self._read(connection, run_id, self._seen_by(principal))

    async def list(
        self, principal: str, limit: int = 50, after: UUID | None = None, *, waiting: bool = False
    ) -> Sequence[Run]:
        """Return the principal's newest runs, from behind the run `after`.

        With `waiting` those that wait for an approval: whoever approves sees everybody's.
        """
        whose = self._seen_by(principal) if waiting else principal
        values = {"principal": whose, "limit": limit, "after": after}
        only = f"AND {_IS_OPEN} AND status = 'waiting_for_approval'" if waiting else ""
        behind = "AND (created_at, id) < (SELECT created_at, id FROM agent.runs WHERE id = :after)"
        query = f"{_RUNS} {only} {behind if after else ''} ORDER BY created_at DESC, id DESC"
        async with self._database.begin() as connection:
            if after:
                await self._read(connection, after, whose)
            rows = await connection.execute(text(f"{query} LIMIT :limit"), values)
            return [Run.model_validate(dict(row)) for row in rows.mappings()]

    async def cancel(self, principal: str, run_id: UUID) -> Run:
        """End a run now; what it has done stays done. One that has ended stays as it is."""
        async with self._store.locked(run_id) as (connection, run):
            if run is None or run.principal != principal:
                raise NotFound(f"There is no run {run_id}.")
            if run.status not in ENDED:
                values = {
                    "id": run_id,
                    "approvals": written_approvals(none_waiting(run, "cancelled")),
                }
                await connection.execute(text(_CANCEL), values)
                await self._store.add_event(connection, run_id, "ended", "run.cancelled")
        await self._queue.cancel(workflow_id(run_id, run.leg))
        return await self.get(principal, run_id)

    async def decide(
        self, principal: str, run_id: UUID, approval_id: UUID, decision: Decision
    ) -> Run:
        """Approve a tool call, or deny it: once. The last decision goes on with the run.

        Raises `NotFound` for who may not, and `Conflict` where it was decided, has expired, or is
        not what was looked at.
        """
        approvers = self._settings.approvers
        async with self._store.locked(run_id) as (connection, run):
            may_see = run is not None and (run.principal == principal or principal in approvers)
            approvals = approvals_of(run) if may_see else []
            found = next((each for each in approvals if each.id == approval_id), None)
            if found is None:
                raise NotFound(f"There is no approval {approval_id} of a run {run_id}.")
            if approvers and principal not in approvers:
                raise Forbidden("Somebody else decides here: ask one of AGENT__APPROVERS.")
            if found.digest != decision.digest:
                raise Conflict("This is not what you have looked at: the digest differs.")
            if run.status != "waiting_for_approval" or found.status != "waiting":
                raise Conflict("Nobody waits for this any more.")
            if run.expires_at < datetime.now(UTC):
                raise Conflict("It was not decided in time.")
            found.status = "approved" if decision.approved else "denied"
            found.decided_by = principal
            await self._settle(connection, run, approvals)
            return await self._read(connection, run_id, None)

    async def events(
        self, principal: str, run_id: UUID, after: int = 0
    ) -> AsyncGenerator[Sequence[Event]]:
        """Yield the events behind the one with the id `after` as they come, up to the last."""
        await self.get(principal, run_id)
        has_ended = False
        while not has_ended:
            events, has_ended = await self._store.events(run_id, after)
            yield events
            if events:
                after = events[-1].id
            elif not has_ended:
                await asyncio.sleep(_POLL_SECONDS)

    async def check(self, *, thorough: bool = False) -> str:
        """Say what agents may do here."""
        if not self._settings.enabled:
            return "switched off: AGENT__ENABLED"
        hosts = ", ".join(self._settings.fetch_hosts) or "no host"
        told = "to AGENT__NOTIFY_URL" if self._settings.notify_url else "to nobody"
        return f"fetch pages of {hosts}, notify {told}"

    async def tidy(self) -> None:
        """Deny what nobody decided in time, delete what has been kept long enough, and end what no
        workflow works on any more, which a fault of ours may bring about.
        """
        days = {"days": self._settings.retention_days}
        async with self._database.begin() as connection:
            await connection.execute(text(_FORGET_CONVERSATIONS), days)
            old = (await connection.execute(text(_FORGET_RUNS), days)).all()
            # The engine has written down what was said, too.
            legs = [workflow_id(run.id, leg + 1) for run in old for leg in range(run.leg)]
            await self._queue.remove(*legs)
            for run in await connection.execute(text(_LATE)):
                await self._settle(connection, run, none_waiting(run, "expired"))
            for run in (await connection.execute(text(_DROPPED), {"error": FAULT})).all():
                await self._store.add_event(
                    connection, run.id, "ended", "run.failed", {"error": FAULT}
                )

    async def _read(self, connection: AsyncConnection, run_id: UUID, whose: str | None) -> Run:
        """Return a run; raise `NotFound` unless it is theirs. None sees all."""
        values = {"id": run_id, "principal": whose}
        rows = await connection.execute(text(f"{_RUNS} AND id = :id"), values)
        row = rows.mappings().one_or_none()
        if row is None:
            raise NotFound(f"There is no run {run_id}.")
        return Run.model_validate(dict(row))

    def _seen_by(self, principal: str) -> str | None:
        return None if principal in self._settings.approvers else principal

    async def _refuse_too_much(self, connection: AsyncConnection, values: dict[str, Any]) -> None:
        if not self._settings.enabled:
            raise Unavailable("Agents are switched off here.")
        count, in_conversation = (await connection.execute(text(_OPEN), values)).one()
        if count >= (most := self._settings.max_open_runs):
            raise TooManyRequests(
                f"{most} of your runs have not ended: wait for one, or cancel it.",
                headers={"Retry-After": "5"},
            )
        if in_conversation:
            raise Conflict("The conversation has a run that has not ended: wait for it.")

    async def _settle(
        self, connection: AsyncConnection, run: Any, approvals: Sequence[Approval]
    ) -> None:
        """Write down the decisions on a locked run; after the last one, queue the next leg."""
        values = {"id": run.id, "approvals": written_approvals(approvals)}
        await connection.execute(text(_DECIDE), values)
        if all(approval.status != "waiting" for approval in approvals):
            await connection.execute(text(_NEXT_LEG), {"id": run.id})
            await self._enqueue(connection, run.id, run.leg + 1, run.principal)

    async def _enqueue(
        self, connection: AsyncConnection, run_id: UUID, leg: int, principal: str
    ) -> None:
        name = workflow_id(run_id, leg)
        await self._queue.add(connection, RUN, name, str(run_id), leg, partition=principal)


def workflow_id(run_id: UUID | str, leg: int) -> str:
    return f"run:{run_id}:{leg}"


def digest_of(tool: str, arguments: dict[str, Any]) -> str:
    """Return what tells a tool call from any other."""
    content = json.dumps([tool, arguments], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


_RUNS: Final = (
    f"SELECT {', '.join(Run.model_fields)} FROM agent.runs"
    " WHERE (CAST(:principal AS text) IS NULL OR principal = :principal)"
)
_ONE_BY_ONE: Final = "SELECT pg_advisory_xact_lock(hashtextextended('agent ' || :principal, 0))"
_CLAIMED: Final = """
    SELECT id, request_hash FROM agent.runs
    WHERE principal = :principal AND idempotency_key = :key"""
_IS_OPEN: Final = "status IN ('queued', 'running', 'waiting_for_approval')"
_OPEN: Final = f"""
    SELECT count(*), COALESCE(bool_or(conversation_id = :conversation_id), false)
    FROM agent.runs WHERE principal = :principal AND {_IS_OPEN}"""
_ADD: Final = """
    INSERT INTO agent.runs
        (principal, idempotency_key, request_hash, agent, input, conversation_id)
    VALUES (:principal, :key, :hash, :agent, :input, :conversation_id) RETURNING id"""
_CANCEL: Final = """
    UPDATE agent.runs SET status = 'cancelled', history = NULL, ended_at = now(),
        approvals = CAST(:approvals AS jsonb)
    WHERE id = :id"""
_DECIDE: Final = "UPDATE agent.runs SET approvals = CAST(:approvals AS jsonb) WHERE id = :id"
_NEXT_LEG: Final = """
    UPDATE agent.runs SET status = 'queued', leg = leg + 1, attempts = 0 WHERE id = :id"""
_LATE: Final = """
    SELECT * FROM agent.runs WHERE status = 'waiting_for_approval' AND expires_at < now()
    FOR UPDATE SKIP LOCKED"""
_DROPPED: Final = f"""
    UPDATE agent.runs SET status = 'failed', error = :error, history = NULL, ended_at = now()
    WHERE id IN (
        SELECT r.id FROM agent.runs r
        JOIN dbos.workflow_status w ON w.workflow_uuid = 'run:' || r.id || ':' || r.leg
        WHERE r.{_IS_OPEN} AND r.status <> 'waiting_for_approval'
            AND w.status NOT IN ('ENQUEUED', 'DELAYED', 'PENDING')
        FOR UPDATE OF r SKIP LOCKED)
    RETURNING id"""
_FORGET_RUNS: Final = """
    DELETE FROM agent.runs WHERE id IN (
        SELECT id FROM agent.runs WHERE ended_at < now() - make_interval(days => :days) LIMIT 100)
    RETURNING id, leg"""
_FORGET_CONVERSATIONS: Final = (
    "DELETE FROM agent.conversations WHERE updated_at < now() - make_interval(days => :days)"
)
