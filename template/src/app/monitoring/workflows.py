"""Watch workflows, each in the trace of the request or workflow that asked for it.

DBOS keeps where that was with the entry of the queue, but reads it only for spans of its own.
"""

from dataclasses import replace
from typing import Any, Final

from dbos import DBOS
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.db.engine import Database
from app.monitoring import names
from app.monitoring.metrics import Labels
from app.monitoring.traces import Monitor
from app.workflows.worker import Workflow

from app.errors import Unavailable

_ATTRIBUTES: Final = "SELECT attributes FROM dbos.workflow_status WHERE workflow_uuid = :id"


def monitored(workflow: Workflow, monitor: Monitor, database: Database) -> Workflow:
    """Return the workflow, watched."""

    async def run(*arguments: Any) -> Any:
        parent = await _asked_by(database)
        labels: Labels = {names.WORKFLOW: workflow.name}
        with monitor.watch(names.INVOKE_WORKFLOW, workflow.name, labels, parent=parent) as work:
            work.span.set_attribute(names.WORKFLOW_ID, DBOS.workflow_id or "")
            return await workflow.run(*arguments)

    return replace(workflow, run=run)


async def _asked_by(database: Database) -> Context:
    attributes = None
    try:
        async with database.begin() as connection:
            attributes = await connection.scalar(text(_ATTRIBUTES), {"id": DBOS.workflow_id})
    except (Unavailable, DBAPIError):
        pass  # It then begins a trace of its own.
    return TraceContextTextMapPropagator().extract((attributes or {}).get("dbos.otelContext", {}))
