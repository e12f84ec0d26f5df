"""The page over HTTP. What it does in a browser is up to whoever looks at it."""

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.monitoring.usage import routes

FOLDER = Path(routes.__file__).parent / "page"
FILES = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.*")}
PAGE = FILES["usage.html"]
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}
LOADED = re.findall(r'(?:src|href)="(/[^"]+)"', PAGE)


def test_the_page_and_all_it_loads_are_open(client: TestClient) -> None:
    del client.headers["Authorization"]
    imported = {name for text in SCRIPTS.values() for name in re.findall(r' from "./(.+)"', text)}
    paths = ["/usage", *LOADED, *(f"/usage/{name}" for name in imported)]
    assert {f"/usage/{name}" for name in FILES if not name.endswith(".html")} <= {*paths}
    for path in paths:
        assert client.get(path).status_code == 200, path
    assert client.get("/v1/usage").status_code == 401


def test_a_browser_runs_and_loads_only_what_comes_from_here(client: TestClient) -> None:
    headers = client.get("/usage").headers
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    assert re.findall(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=|javascript:", PAGE) == []
    assert re.findall(r'(?:src|href)="(?!/usage/|data:,")[^"]*"', PAGE) == []


def test_no_script_makes_markup_or_code_from_a_text() -> None:
    unsafe = r"(inner|outer|Adjacent)HTML|document\.write|DOMParser|\beval\(|new Function"
    assert [name for name, text in SCRIPTS.items() if re.search(unsafe, text)] == []


@pytest.mark.parametrize(
    "name", ["nothing.js", "routes.py", "..%2froutes.py", "..%2f..%2f..%2fmain.py", "a%00.js"]
)
def test_only_the_files_of_the_page_are_given_away(client: TestClient, name: str) -> None:
    answer = client.get(f"/usage/{name}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_page_is_no_part_of_the_api(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"].keys()
    assert not {"/usage", "/usage/{name}"} & paths
