"""The comparison is made once a period, by one of the workers, and shown by all of them."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.db.engine import Database
from app.monitoring import names
from app.monitoring.drift.__main__ import main
from app.monitoring.drift.job import DRIFT, Drift
from app.monitoring.drift.topics import topic_of
from app.monitoring.llm_settings import LLMMonitoringSettings
from app.monitoring.providers import Monitoring, open_monitoring
from app.workflows.queue import Queue
from app.workflows.worker import Worker

from tests.monitoring.conftest import Noted
from tests.workflows.conftest import EAGER, database, queue, statuses, until

__all__ = ["database", "queue"]
pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
SETTINGS = LLMMonitoringSettings()
RESPONSE = text("""
    INSERT INTO monitoring.responses (
        id, principal, feature, model, prompt, prompt_version, created_at, input_chars,
        output_chars, refused, scores, rating, topic)
    VALUES (
        :id, 'alice', :feature, 'offline', 'chat', '1', :created_at, :input_chars,
        :output_chars, :refused, '{}', :rating, :topic)""")


@pytest.fixture
async def monitoring(noted: Noted) -> AsyncIterator[Monitoring]:
    async with open_monitoring(SETTINGS) as monitoring:
        noted.listen(monitoring)
        yield monitoring


@pytest.fixture
def drift(database: Database, queue: Queue, monitoring: Monitoring) -> Drift:
    return Drift(database, queue, monitoring, SETTINGS)


def responses(
    days_ago: float, count: int, *, words: str = "battery", longer: float = 1, **given: Any
) -> list[dict[str, Any]]:
    """Return responses of about so many days ago."""
    rng = np.random.default_rng(0)
    return [
        {
            "id": f"{given.get('feature', 'chat')}-{days_ago}-{number}",
            "feature": "chat",
            "created_at": NOW - timedelta(days=days_ago, minutes=number),
            "input_chars": int(rng.integers(20, 200)),
            "output_chars": int(longer * rng.integers(100, 900)),
            "refused": bool(rng.random() < 0.1),
            "rating": "up" if number % 4 == 0 else None,
            "topic": topic_of(f"{words} {number % 7}{number % 11} {number % 5}xyz"),
            **given,
        }
        for number in range(count)
    ]


async def store(database: Database, *given: list[dict[str, Any]]) -> None:
    async with database.begin() as connection:
        for rows in given:
            await connection.execute(RESPONSE, rows)


async def test_the_last_days_are_compared_with_those_before(
    database: Database, drift: Drift
) -> None:
    await store(database, responses(3, 200, longer=2), responses(20, 300), responses(60, 100))
    report = await drift.compare(NOW)
    assert {(c.feature, c.reference, c.window) for c in report.comparisons} == {
        ("chat", 300, 200),
        ("chat", 75, 50),
    }
    assert [c.measure for c in report.comparisons if c.has_changed] == ["output_length"]


async def test_features_are_compared_apart_and_a_response_without_a_topic_counts_too(
    database: Database, drift: Drift
) -> None:
    await store(
        database,
        responses(3, 50),
        responses(20, 50),
        responses(3, 50, feature="search", topic=None),
        responses(20, 50, feature="search", topic=None),
    )
    report = await drift.compare(NOW)
    assert {(c.feature, c.measure) for c in report.comparisons if c.p_value is None} == {
        ("chat", "feedback"),
        ("search", "feedback"),
        ("search", "topics"),
    }


async def test_of_very_many_a_sample_is_compared_and_all_that_are_rated(
    database: Database, drift: Drift
) -> None:
    await store(database, responses(3, 1_200), responses(20, 40))
    sizes = {c.measure: c.window for c in (await drift.compare(NOW)).comparisons}
    assert (sizes["refusals"], sizes["feedback"]) == (1_000, 300)


async def test_a_reference_may_be_a_fixed_time(
    database: Database, queue: Queue, monitoring: Monitoring
) -> None:
    settings = LLMMonitoringSettings(
        drift_reference_until=date(2026, 3, 1), drift_reference_days=31, drift_window_days=2
    )
    fixed = Drift(database, queue, monitoring, settings)
    report = await fixed.compare(datetime(2026, 11, 26, tzinfo=UTC))
    assert report.reference == (datetime(2026, 1, 29, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
    assert report.window[0] == datetime(2026, 11, 24, tzinfo=UTC)
    # Never within the window.
    early = await fixed.compare(datetime(2026, 2, 3, tzinfo=UTC))
    assert early.reference[1] == early.window[0] == datetime(2026, 2, 1, tzinfo=UTC)


async def test_several_workers_compare_once_and_all_of_them_show_it(
    database: Database, queue: Queue, drift: Drift, monitoring: Monitoring, noted: Noted
) -> None:
    await store(database, responses(3, 200, longer=2), responses(20, 300))
    async with open_monitoring(SETTINGS) as elsewhere:
        other, seen_there = Drift(database, queue, elsewhere, SETTINGS), Noted()
        seen_there.listen(elsewhere)
        for each in (drift, other, drift):
            await each.keep_watch()
        assert list((await statuses(database)).values()) == ["ENQUEUED"]
        assert noted.points(names.DRIFT_SCORE) == []

        async def is_kept() -> bool:
            return await drift.newest() is not None

        async with Worker(database, EAGER, [drift.workflow], [drift.keep_watch]).working():
            await until(is_kept)
        for each in (drift, other):
            await each.keep_watch()
        assert len(await statuses(database)) == 1
        for seen in (noted, seen_there):
            p_values = seen.sums(names.DRIFT_P_VALUE, names.DRIFT_MEASURE)
            assert p_values["output_length"] < 0.01 < p_values["input_length"]
            assert seen.sums(names.DRIFT_SCORE, names.DRIFT_MEASURE)["output_length"] > 0.1
            assert seen.sums(names.DRIFT_SCORE, names.FEATURE).keys() == {"chat"}


async def test_what_is_done_again_is_kept_once(database: Database, drift: Drift) -> None:
    for _ in range(2):
        await drift.workflow.run(NOW.isoformat())
    async with database.begin() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM monitoring.drift")) == 1
    newest = await drift.newest()
    assert newest
    assert newest.window[1] == NOW
    assert await drift.newest(NOW) is None


async def test_a_new_period_is_asked_for(
    database: Database, queue: Queue, monitoring: Monitoring
) -> None:
    hourly = LLMMonitoringSettings(drift_hours=1)
    for _ in range(2):
        await Drift(database, queue, monitoring, hourly).keep_watch()
    (name,) = await statuses(database)
    begun = datetime.fromisoformat(name.removeprefix(f"{DRIFT}:"))
    assert timedelta() <= datetime.now(UTC) - begun < timedelta(hours=2)
    assert (begun.minute, begun.second) == (0, 0)


async def test_the_logs_say_what_has_changed_and_nothing_of_what_was_asked(
    database: Database, drift: Drift
) -> None:
    await store(database, responses(3, 200, words="canary", longer=2), responses(20, 300))
    with capture_logs() as logs:
        await drift.workflow.run(NOW.isoformat())
    (told,) = logs
    assert told["log_level"] == "warning"
    assert "output_length of chat" in told["report"]
    assert "canary" not in f"{told} {await drift.newest()}"


def test_the_command_says_what_is_there(
    fresh_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([])
    assert "Nothing could be compared" in capsys.readouterr().out
