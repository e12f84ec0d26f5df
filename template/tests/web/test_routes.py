"""The page over HTTP. What it does in a browser is up to whoever looks at it."""

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.web import routes

FILES = {path.name: path.read_text("utf-8") for path in Path(routes.__file__).parent.glob("*.*")}
PAGE = FILES["index.html"]
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}
LOADED = re.findall(r'(?:src|href)="(/[^"]+)"', PAGE)


def test_the_page_and_all_it_loads_are_open(client: TestClient) -> None:
    del client.headers["Authorization"]
    assert len(LOADED) > 2
    for path in ("/", *LOADED):
        assert client.get(path).status_code == 200, path
    assert client.get("/v1/models").status_code == 401


def test_a_script_imports_only_what_is_there() -> None:
    imported = {name for text in SCRIPTS.values() for name in re.findall(r' from "([^"]+)"', text)}
    assert imported <= {f"./{name}" for name in SCRIPTS}


def test_each_script_is_loaded_by_the_page_or_by_another(client: TestClient) -> None:
    imported = {name for text in SCRIPTS.values() for name in re.findall(r' from "./(.+)"', text)}
    loaded = {*LOADED, *(f"/web/{name}" for name in imported)}
    assert {f"/web/{name}" for name in SCRIPTS} <= loaded
    assert all(client.get(path).status_code == 200 for path in loaded)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "text/html"), ("/web/style.css", "text/css"), ("/web/page.js", "text/javascript")],
)
def test_each_file_has_its_type_and_is_taken_for_nothing_else(
    client: TestClient, path: str, kind: str
) -> None:
    headers = client.get(path).headers
    assert headers["Content-Type"] == f"{kind}; charset=utf-8"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_runs_and_loads_only_what_comes_from_here(client: TestClient) -> None:
    headers = client.get("/").headers
    policy = headers["Content-Security-Policy"].split("; ")
    assert dict(part.split(" ", 1) for part in policy) == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["Referrer-Policy"] == "no-referrer"


def test_the_page_has_nothing_that_its_policy_forbids() -> None:
    assert re.findall(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=|javascript:", PAGE) == []
    assert re.findall(r'(?:src|href)="(?!/web/|data:,")[^"]*"', PAGE) == []


def test_no_script_makes_markup_or_code_from_a_text() -> None:
    """So that nothing a model writes can become either."""
    unsafe = r"(inner|outer|Adjacent)HTML|document\.write|DOMParser|\beval\(|new Function"
    found = {name: re.search(unsafe, text) for name, text in SCRIPTS.items()}
    assert not any(found.values()), found


def test_what_has_not_changed_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/web/page.js")
    assert first.headers["Cache-Control"] == "no-cache"
    again = client.get("/web/page.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "name",
    [
        "nothing.js",
        "routes.py",
        "__init__.py",
        "..%2fmain.py",
        "..%2f..%2fapp%2fweb%2fpage.js",
        "%2fetc%2fhostname.css",
        "a%00.js",
        "x" * 5_000 + ".js",
    ],
)
def test_only_the_files_of_the_page_are_given_away(client: TestClient, name: str) -> None:
    answer = client.get(f"/web/{name}")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


def test_the_page_is_no_part_of_the_api(client: TestClient) -> None:
    assert not {"/", "/web/{name}"} & client.get("/openapi.json").json()["paths"].keys()
