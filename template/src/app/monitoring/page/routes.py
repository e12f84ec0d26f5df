"""`GET /usage`, a page: open, for what it shows comes from `/v1/usage`, which needs a key."""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.pages import Page

_PAGE = Page(Path(__file__).parent)

OPEN_PATHS = ["/usage", "/usage/*"]
router = APIRouter(include_in_schema=False)


@router.get("/usage")
async def read_page(request: Request) -> Response:
    """Show the page."""
    return await _PAGE.read("usage.html", request.scope)


@router.get("/usage/{name}")
async def read_asset(name: str, request: Request) -> Response:
    """Give a script or a style of the page."""
    return await _PAGE.read(name, request.scope)
