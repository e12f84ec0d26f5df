"""Compare what the service answered lately with what it answered before, once a period.

Each worker asks the queue for it, which takes the same work once; so one of them does it, and it
survives a crash. What was found is kept, and each of them shows it in its metrics.
"""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from opentelemetry.metrics import CallbackOptions, Observation
from pydantic import TypeAdapter
from sqlalchemy import text

from app.db.engine import Database
from app.monitoring import names
from app.monitoring.drift.report import Comparison, Report
from app.monitoring.llm_settings import LLMMonitoringSettings
from app.monitoring.providers import Monitoring
from app.monitoring.writer import tolerating
from app.workflows.patience import patiently
from app.workflows.queue import Queue
from app.workflows.worker import Workflow

DRIFT: Final = "drift"
# Responses of a feature and a period: with more, a change that matters to nobody is found, too.
_MOST: Final = 1_000
_REPORT: Final = TypeAdapter(Report)
_log = structlog.stdlib.get_logger("app.monitoring")


class Drift:
    """Compares, keeps and shows; `workflow` and `keep_watch` are for the worker."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        monitoring: Monitoring,
        settings: LLMMonitoringSettings,
    ) -> None:
        self.workflow = Workflow(DRIFT, self._run, poll_factor=25)
        self._database = database
        self._queue = queue
        self._settings = settings
        self._asked_for: datetime | None = None
        self._shown: Report | None = None
        meter = monitoring.meters.get_meter(__name__)
        meter.create_observable_gauge(names.DRIFT_SCORE, [self._scores], "", "How much changed")
        meter.create_observable_gauge(
            names.DRIFT_P_VALUE, [self._p_values], "", "Chance of as much where nothing changed"
        )

    async def compare(self, until: datetime) -> Report:
        """Compare the days before `until` with the reference."""
        window, reference = self._periods(until)
        rows = await self._read(window, reference)
        # The event loop goes on meanwhile.
        comparisons = await asyncio.to_thread(_compare, rows) if rows else ()
        return Report(reference, window, comparisons)

    async def newest(self, after: datetime | None = None) -> Report | None:
        """Return the last report that was kept, if its window ended after this time."""
        async with self._database.begin() as connection:
            found = await connection.scalar(text(_NEWEST), {"after": after})
        return _REPORT.validate_python(found) if found else None

    async def keep_watch(self) -> None:
        """Ask for the comparison of this period, unless somebody has, and show the newest one."""
        with tolerating("to look for drift"):
            await self._ask_and_show()

    async def _ask_and_show(self) -> None:
        until = self._period_of(datetime.now(UTC))
        if until != self._asked_for:
            name = f"{DRIFT}:{until.isoformat()}"
            async with self._database.begin() as connection:
                await self._queue.add(connection, DRIFT, name, until.isoformat())
            self._asked_for = until
        shown = self._shown.window[1] if self._shown else None
        self._shown = await self.newest(shown) or self._shown

    async def _run(self, until: str) -> None:
        report = await patiently(lambda: self.compare(datetime.fromisoformat(until)))
        await patiently(lambda: self._keep(report))
        changed = [f"{c.feature}: {c.measure}" for c in report.comparisons if c.has_changed]
        tell = _log.warning if changed else _log.info
        tell("drift", changed=changed, report=report.in_words())

    async def _keep(self, report: Report) -> None:
        values = {"until": report.window[1], "report": _REPORT.dump_json(report).decode()}
        async with self._database.begin() as connection:
            await connection.execute(text(_KEEP), values)

    async def _read(self, window: tuple[datetime, ...], reference: tuple[datetime, ...]) -> Any:
        values = {
            "from": reference[0],
            "to": reference[1],
            "since": window[0],
            "until": window[1],
            "most": _MOST,
        }
        async with self._database.begin() as connection:
            return (await connection.execute(text(_SAMPLED), values)).all()

    def _period_of(self, now: datetime) -> datetime:
        hours = self._settings.drift_hours
        return datetime.fromtimestamp(now.timestamp() // (hours * 3600) * hours * 3600, UTC)

    def _periods(
        self, until: datetime
    ) -> tuple[tuple[datetime, datetime], tuple[datetime, datetime]]:
        """Return the window and the reference, which is before the window in any case."""
        since = until - timedelta(days=self._settings.drift_window_days)
        end = since
        if fixed := self._settings.drift_reference_until:
            end = min(since, datetime(fixed.year, fixed.month, fixed.day, tzinfo=UTC))
        begin = end - timedelta(days=self._settings.drift_reference_days)
        return (since, until), (begin, end)

    def _tested(self) -> Iterable[tuple[Comparison, Mapping[str, str]]]:
        for found in self._shown.comparisons if self._shown else ():
            if found.p_value is not None:
                yield found, {names.FEATURE: found.feature, names.DRIFT_MEASURE: found.measure}

    def _scores(self, options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(found.score, labels) for found, labels in self._tested()]

    def _p_values(self, options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(found.p_value or 0.0, labels) for found, labels in self._tested()]


def _compare(rows: Any) -> tuple[Comparison, ...]:
    # Imported where there is something to compare: scipy takes half a second.
    from app.monitoring.drift.compare import compare
    from app.monitoring.drift.sample import samples

    return compare(samples(rows))


_NEWEST: Final = """
    SELECT report FROM monitoring.drift
    WHERE until > COALESCE(CAST(:after AS timestamptz), '-infinity')
    ORDER BY until DESC LIMIT 1"""
_KEEP: Final = """
    INSERT INTO monitoring.drift (until, report) VALUES (:until, CAST(:report AS jsonb))
    ON CONFLICT (until) DO UPDATE SET report = excluded.report"""
# By the hash of their ids, so that the same are taken each time. Few are rated: theirs are counted
# by themselves.
_SAMPLED: Final = """
    SELECT
        feature, CASE WHEN is_sampled THEN topic END AS topic, input_chars, output_chars, refused,
        rating, is_recent, is_sampled, is_rated
    FROM (
        SELECT
            feature, topic, input_chars, output_chars, refused, rating,
            created_at >= :since AS is_recent,
            row_number() OVER (
                PARTITION BY feature, created_at >= :since ORDER BY md5(id), id
            ) <= :most AS is_sampled,
            rating IS NOT NULL AND row_number() OVER (
                PARTITION BY feature, created_at >= :since, rating IS NULL ORDER BY md5(id), id
            ) <= :most AS is_rated
        FROM monitoring.responses
        WHERE created_at >= :from AND created_at < :to
            OR created_at >= :since AND created_at < :until
    ) AS responses
    WHERE is_sampled OR is_rated"""
