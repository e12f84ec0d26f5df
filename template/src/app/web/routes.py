"""`GET /` and what the page loads: open, for the page asks for a key where the API needs one."""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.pages import Page

_PAGE = Page(Path(__file__).parent)

# A browser asks for scripts and styles, too, before anybody could give it a key.
OPEN_PATHS = ["/", "/web/*"]
router = APIRouter(include_in_schema=False)


@router.get("/")
async def read_page(request: Request) -> Response:
    """Show the page."""
    return await _PAGE.read("index.html", request.scope)


@router.get("/web/{name}")
async def read_asset(name: str, request: Request) -> Response:
    """Give a script or a style of the page."""
    return await _PAGE.read(name, request.scope)
