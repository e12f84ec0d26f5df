"""`GET /v1/usage`: what calls of models took and cost, added up; and `GET /usage`, which draws it.

The page is open, for it holds nothing: it asks for the key that `/v1/usage` needs.
"""

from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Final, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import BeforeValidator, PlainValidator

from app.monitoring.usage.report import GroupBy, Report

from app.errors import InvalidRequest, problems
from app.pages import Page
from app.resources import Resources
from app.security import NEEDS_KEY

_DAYS: Final = 30

_PAGE: Final = Page(Path(__file__).parent / "page")
# A browser asks for scripts and styles, too, before anybody could give it a key.
OPEN_PATHS = ["/usage", "/usage/*"]

router = APIRouter(prefix="/v1", tags=["monitoring"], dependencies=[NEEDS_KEY])
page = APIRouter(include_in_schema=False)


def _moment(given: str) -> date:
    """Read a date, or a time."""
    for read in (date.fromisoformat, datetime.fromisoformat):
        with suppress(ValueError):
            if 2000 <= (moment := read(given)).year < 3000:
                return moment
    raise ValueError("use a date or a time, such as 2026-11-30 or 2026-11-30T12:00Z (a + is %2B)")


def _split(given: list[str]) -> list[str]:
    return [name for names in given for name in names.split(",")]


Moment = Annotated[date, PlainValidator(_moment, json_schema_input_type=str)]
Groups = Annotated[list[GroupBy], BeforeValidator(_split)]


@router.get("/usage", response_model_exclude_unset=True, responses=problems(401, 422, 429, 503))
async def usage(
    request: Request,
    begin: Annotated[Moment | None, Query(alias="from", description="Else 30 days before")] = None,
    end: Annotated[Moment | None, Query(alias="to", description="Else now")] = None,
    group_by: Annotated[Groups, Query(description="One or several")] = [],  # noqa: B006
) -> Report:
    """Add up what your calls took, and cost; those of everybody for whoever may see that."""
    until = _time(end, is_end=True) if end else datetime.now(UTC)
    since = _time(begin) if begin else until - timedelta(days=_DAYS)
    if since >= until:
        raise InvalidRequest("from: name a time before the end", param="from")
    found = cast(Resources, request.app.state.resources).usage
    return await found.report(request.state.principal, since, until, group_by)


def _time(moment: date, *, is_end: bool = False) -> datetime:
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment + timedelta(days=is_end), time())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@page.get("/usage")
async def read_page(request: Request) -> Response:
    """Show the page."""
    return await _PAGE.read("usage.html", request.scope)


@page.get("/usage/{name}")
async def read_asset(name: str, request: Request) -> Response:
    """Give a script or a style of the page."""
    return await _PAGE.read(name, request.scope)
