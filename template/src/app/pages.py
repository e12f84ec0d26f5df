"""Give the files of a page to a browser, and tell it to trust nothing else."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

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


@dataclass(frozen=True)
class Page:
    """The HTML, scripts and styles in `folder`, and no other file there."""

    folder: Path

    async def read(self, name: str, scope: Scope) -> Response:
        """Return a file; raise `NotFound` for what is none of the page's."""
        kind = _TYPES.get(Path(name).suffix)
        if kind is None or "\0" in name:
            raise NotFound("The page has no such file.")
        response = await self._files.get_response(name, scope)
        response.headers.update(_HEADERS)
        response.headers["Content-Type"] = f"{kind}; charset=utf-8"
        return response

    @cached_property
    def _files(self) -> StaticFiles:
        return StaticFiles(directory=self.folder, check_dir=False, follow_symlink=True)
