"""`GET /` and what the page loads: open, for the page asks for a key where the API needs one."""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles

from app.errors import NotFound

_HEADERS = {
    # Whatever a model writes: the browser runs, loads and calls what comes from here, nothing else.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "Cache-Control": "no-cache",  # Ask each time; unchanged is a 304.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Named here, because what a system takes for the type of a script differs.
_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
_FILES = StaticFiles(directory=Path(__file__).parent, check_dir=False, follow_symlink=True)

# A browser asks for scripts and styles, too, before anybody could give it a key.
OPEN_PATHS = ["/", "/web/*"]
router = APIRouter(include_in_schema=False)


@router.get("/")
async def read_page(request: Request) -> Response:
    """Show the page."""
    return await _read("index.html", request)


@router.get("/web/{name}")
async def read_asset(name: str, request: Request) -> Response:
    """Give a script or a style of the page."""
    return await _read(name, request)


async def _read(name: str, request: Request) -> Response:
    kind = _TYPES.get(Path(name).suffix)
    if kind is None or "\0" in name:
        raise NotFound("The page has no such file.")
    response = await _FILES.get_response(name, request.scope)
    response.headers.update(_HEADERS)
    response.headers["Content-Type"] = f"{kind}; charset=utf-8"
    return response
