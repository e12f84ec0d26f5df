"""A real browser that shows a service's page, and is watched while it does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from acceptance.services import KEY

Open = Callable[..., Page]

# The blank page before it has no storage.
WITH_KEY = f"if (location.port) sessionStorage.setItem('api-key', {json.dumps(KEY)})"
FAILED = "Failed to load resource:"


@contextmanager
def launched() -> Iterator[Browser]:
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        # The tests run as root, which chromium's own sandbox refuses.
        arguments: Any = {"executable_path": shutil.which("chromium"), "args": ["--no-sandbox"]}
        browser = playwright.chromium.launch(**arguments)
        yield browser
        browser.close()


@contextmanager
def watched(browser: Browser, address: str) -> Iterator[Open]:
    """Give what opens the page, by default with a key, and watches it.

    A test names what statuses it makes the service answer. Anything else that the browser's
    console calls an error fails the test, and so does a request to anywhere else.
    """
    contexts: list[BrowserContext] = []
    wrong: list[str] = []
    visited: list[str] = []

    def open_page(
        *, with_key: bool = True, at: str = "", failing: Sequence[int | str] = (), **options: Any
    ) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        if with_key:
            context.add_init_script(WITH_KEY)
        answers = [f"the server responded with a status of {each} " for each in failing]
        known = tuple(f"{FAILED} {each}" for each in [*answers, *map(str, failing)])

        def said(kind: str, text: str) -> None:
            if kind in ("error", "warning") and not text.startswith(known):
                wrong.append(text)

        context.on("console", lambda message: said(message.type, message.text))
        context.on("weberror", lambda error: wrong.append(str(error.error)))
        context.on("request", lambda request: visited.append(request.url))
        page = context.new_page()
        page.goto(f"{address}/{at}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
    assert {url for url in visited if not url.startswith((f"{address}/", "data:"))} == set()


def violations(page: Page) -> list[tuple[str, str]]:
    """Return what axe finds wrong with the page as it is now, and the first element that is."""
    found = Axe().run(page).response["violations"]
    return [(each["id"], each["nodes"][0]["html"]) for each in found]
