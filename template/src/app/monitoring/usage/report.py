"""Add up the ledger: what calls took, and what they cost."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Final, Literal

from pydantic import BaseModel, Field
from sqlalchemy import text

from app.db.engine import Database
from app.monitoring.ledger import Ledger

GroupBy = Literal["principal", "feature", "model", "prompt", "day"]
_KEYS: Final[dict[GroupBy, dict[str, str]]] = {
    "principal": {"principal": "principal"},
    "feature": {"feature": "feature"},
    "model": {"provider": "provider", "model": "model"},
    "prompt": {"prompt": "prompt", "prompt_version": "prompt_version"},
    "day": {"day": "CAST(started_at AT TIME ZONE 'UTC' AS date)"},
}


class Sums(BaseModel):
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None = Field(description="null where the price of no call is known")


class Row(Sums):
    """Tokens of caches and of reasoning are parts of the others, and so is what is `estimated`."""

    principal: str | None = None
    feature: str | None = None
    provider: str | None = None
    model: str | None = None
    prompt: str | None = None
    prompt_version: str | None = None
    day: date | None = None
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    unpriced_calls: int = Field(description="Calls that cost_usd leaves out")
    estimated: Sums = Field(description="Calls whose usage nobody reported, or not all of it")


class Report(BaseModel):
    """A row for each group; without groups one of everything."""

    rows: list[Row]
    total_cost_usd: float | None
    unpriced_calls: int
    totals: Row


class Usage:
    """Reports to each principal what is their own, and to `readers` what is everybody's."""

    def __init__(self, database: Database, ledger: Ledger, readers: Collection[str]) -> None:
        self._database = database
        self._ledger = ledger
        self._readers = readers

    async def report(
        self, principal: str, begin: datetime, end: datetime, group_by: Sequence[GroupBy] = ()
    ) -> Report:
        """Add up the calls that have ended, of those that began from `begin` to before `end`."""
        await self._ledger.flush()
        keys = {name: sql for group in group_by for name, sql in _KEYS[group].items()}
        whose = None if principal in self._readers else principal
        values = {"begin": begin, "end": end, "principal": whose}
        async with self._database.begin() as connection:
            found = (await connection.execute(text(_query(keys)), values)).mappings().all()
        totals = next(Row.model_validate(dict(row)) for row in found if row["is_total"])
        rows = [Row.model_validate(dict(row)) for row in found if not row["is_total"]]
        return Report(
            rows=rows if keys else [totals],
            total_cost_usd=totals.cost_usd,
            unpriced_calls=totals.unpriced_calls,
            totals=totals,
        )


def _query(keys: dict[str, str]) -> str:
    shown = "".join(f"{sql} AS {name}, " for name, sql in keys.items())
    groups = ", ".join(keys.values())
    is_total = f"GROUPING({groups}) > 0" if keys else "true"
    sets = f"({groups}), ()" if keys else "()"
    return f"""
        SELECT {shown} {is_total} AS is_total, {_SUMS} FROM monitoring.calls
        WHERE outcome IS NOT NULL AND started_at >= :begin AND started_at < :end
            AND (CAST(:principal AS text) IS NULL OR principal = :principal)
        GROUP BY GROUPING SETS ({sets}) ORDER BY {groups or 1}"""


_SUMS: Final = """
    count(*) AS calls,
    COALESCE(sum(input_tokens), 0) AS input_tokens,
    COALESCE(sum(output_tokens), 0) AS output_tokens,
    COALESCE(sum(cache_read_tokens), 0) AS cache_read_tokens,
    COALESCE(sum(cache_write_tokens), 0) AS cache_write_tokens,
    COALESCE(sum(reasoning_tokens), 0) AS reasoning_tokens,
    COALESCE(sum(cost_usd), CASE WHEN count(*) = 0 THEN 0 END) AS cost_usd,
    count(*) - count(cost_usd) AS unpriced_calls,
    json_build_object(
        'calls', count(*) FILTER (WHERE estimated),
        'input_tokens', COALESCE(sum(input_tokens) FILTER (WHERE estimated), 0),
        'output_tokens', COALESCE(sum(output_tokens) FILTER (WHERE estimated), 0),
        'cost_usd', COALESCE(
            sum(cost_usd) FILTER (WHERE estimated),
            CASE WHEN count(*) FILTER (WHERE estimated) = 0 THEN 0 END)
    ) AS estimated"""
