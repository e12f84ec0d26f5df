"""`POST /v1/feedback`: thumbs up or down for a response, by its id."""

from typing import cast

from fastapi import APIRouter, Request

from app.monitoring.quality.feedback import Rating

from app.errors import problems
from app.resources import Resources
from app.security import NEEDS_KEY

_ERRORS = problems(400, 401, 403, 404, 413, 422, 429, 503, 504)

router = APIRouter(prefix="/v1", tags=["feedback"], dependencies=[NEEDS_KEY], responses=_ERRORS)


@router.post("/feedback", status_code=201)
async def rate(body: Rating, request: Request) -> Rating:
    """Say whether a response was good; what was said of it before is replaced."""
    feedback = cast(Resources, request.app.state.resources).feedback
    return await feedback.rate(request.state.principal, body)
