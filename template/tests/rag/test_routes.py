"""Documents over HTTP: what is taken in and given back, and that nobody gets another's."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response

from app.rag.offline import open_offline

from app.main import create_app
from app.settings import SecuritySettings, Settings
from tests.conftest import KEY
from tests.db.callers import bob, problem, settings
from tests.rag.conftest import Meanings, open_rag

__all__ = ["bob", "settings"]
SECRETS = ("OAK-7731", "Treasure map", "pirate")


@pytest.fixture
def treasure(fresh_database: str) -> str:
    """The id of a document of Alice's that can be found."""

    async def ingest() -> str:
        async with open_rag(fresh_database, open_offline()) as rag:
            document = await rag.ready(
                "The treasure is buried below the tree OAK-7731.",
                title="Treasure map",
                metadata={"by": "pirate"},
                source_id="chart-1",
            )
            return str(document.id)

    return asyncio.run(ingest())


def post(client: TestClient, **body: Any) -> Response:
    return client.post("/v1/documents", json={"title": "Dogs", "text": "A dog.", **body})


def upload(
    client: TestClient,
    name: str = "Dogs.md",
    content: bytes = b"# Dogs",
    type: str = "application/octet-stream",
    **fields: str,
) -> Response:
    return client.post("/v1/documents", files={"file": (name, content, type)}, data=fields)


def test_a_text_is_taken_in_and_can_be_looked_at(client: TestClient) -> None:
    answer = post(client, metadata={"year": 2026}, source_id="dogs")
    assert answer.status_code == 202
    document = answer.json()
    assert {"id", "status", "stage", "chunks", "error"} <= document.keys()
    assert (document["status"], document["title"]) == ("queued", "Dogs")
    assert client.get(f"/v1/documents/{document['id']}").json() == document
    assert client.get("/v1/documents").json() == {"documents": [document]}


def test_a_file_is_taken_in_with_its_name_as_title(client: TestClient) -> None:
    answer = upload(client, "Größe.md", metadata='{"year": 2026}')
    assert answer.status_code == 202
    assert answer.json()["title"] == "Größe.md"
    assert answer.json()["metadata"] == {"year": 2026}


def test_a_file_may_have_another_title_and_a_source(client: TestClient) -> None:
    document = upload(client, title="Hounds", source_id="pets").json()
    assert (document["title"], document["source_id"]) == ("Hounds", "pets")
    assert upload(client, title="Hounds", source_id="pets").json()["id"] == document["id"]


def test_a_file_is_of_the_type_that_it_is_sent_as_where_its_name_says_none(
    client: TestClient,
) -> None:
    assert upload(client, "README", type="text/plain; charset=utf-8").status_code == 202
    assert "'README' is of no supported type" in problem(upload(client, "README"), 422)["detail"]


def test_a_document_is_deleted_and_gone(client: TestClient, treasure: str) -> None:
    assert client.delete(f"/v1/documents/{treasure}").status_code == 204
    assert problem(client.get(f"/v1/documents/{treasure}"), 404)["code"] == "not_found"
    assert problem(client.delete(f"/v1/documents/{treasure}"), 404)
    assert client.get("/v1/documents").json() == {"documents": []}
    assert client.post("/v1/search", json={"query": "treasure"}).json() == {"results": []}


def test_documents_are_listed_page_by_page(client: TestClient) -> None:
    ids = [post(client, text=f"Dog {number}").json()["id"] for number in range(3)]
    first = client.get("/v1/documents", params={"limit": 2}).json()["documents"]
    after = {"limit": 2, "after": first[-1]["id"]}
    second = client.get("/v1/documents", params=after).json()["documents"]
    assert [document["id"] for document in (*first, *second)] == ids[::-1]


def test_a_search_finds_passages_with_scores_and_places(client: TestClient, treasure: str) -> None:
    body = {"query": "Where is the treasure?", "limit": 1, "filter": {"by": "pirate"}}
    (found,) = client.post("/v1/search", json=body).json()["results"]
    assert found.keys() >= {"chunk_id", "document_id", "title", "text", "score", "start", "end"}
    assert found["document_id"] == treasure
    assert found["metadata"] == {"by": "pirate"}
    assert None not in (found["meaning"], found["words"])
    assert client.post("/v1/search", json={**body, "filter": {"by": "bob"}}).json()["results"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"title": " "}, "title"),
        ({"text": ""}, "text"),
        ({"text": None}, "text"),
        ({"text": "a\0b"}, "text"),
        ({"metadata": {"a": "b\0"}}, "metadata.a"),
        ({"metadata": {"a": 2**70}}, "metadata.a"),
        ({"metadata": {"a": {"b": "c"}}}, "metadata.a"),
        ({"metadata": {str(number): 1 for number in range(51)}}, "metadata"),
        ({"media_type": "application/pdf"}, "media_type"),
        ({"principal": "bob"}, "principal"),
    ],
)
def test_a_wrong_document_is_a_problem_that_names_the_field(
    client: TestClient, body: dict[str, Any], field: str
) -> None:
    described = problem(post(client, **body), 422)
    assert described["errors"][0]["field"].startswith(field)
    assert client.get("/v1/documents").json() == {"documents": []}


@pytest.mark.parametrize(
    "metadata",
    ['{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', "[" * 10_000, '{"a":' * 10_000, "{"],
)
def test_metadata_that_are_no_json_to_store_are_a_problem(
    client: TestClient, metadata: str
) -> None:
    body = f'{{"title": "Dogs", "text": "A dog.", "metadata": {metadata}}}'
    problem(client.post("/v1/documents", content=body), 422)
    problem(client.post("/v1/search", content=f'{{"query": "a", "filter": {metadata}}}'), 422)
    described = problem(upload(client, metadata=metadata), 422)
    assert described["errors"][0]["field"].startswith("metadata")


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b'"text"', b"\xff", b"null"])
def test_a_body_that_is_no_object_is_a_problem_that_says_so(
    client: TestClient, body: bytes
) -> None:
    described = problem(client.post("/v1/documents", content=body), 422)
    assert described["errors"][0]["field"] == "body"
    assert re.search(r"column \d+$|an object", described["errors"][0]["message"])


def test_a_form_without_a_file_says_how_to_send_one(client: TestClient) -> None:
    answer = client.post("/v1/documents", files={"document": ("a.md", b"a")}, data={"title": "a"})
    assert "file: send the document as a file of this name" in problem(answer, 422)["detail"]


@pytest.mark.parametrize("type", ["multipart/form-data", "multipart/form-data; boundary=x"])
def test_a_form_that_is_none_is_a_problem(client: TestClient, type: str) -> None:
    answer = client.post("/v1/documents", content=b"no form", headers={"Content-Type": type})
    assert problem(answer, answer.status_code)["status"] in (400, 422)


def test_a_form_with_an_unknown_field_is_refused(client: TestClient) -> None:
    assert problem(upload(client, principal="bob"), 422)["errors"][0]["field"] == "principal"


@pytest.mark.parametrize("send", [post, upload])
def test_a_document_that_is_too_long_is_a_413(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, send: Callable[..., Response]
) -> None:
    monkeypatch.setenv("SERVER__MAX_BODY_BYTES", "1000")
    settings = Settings(security=SecuritySettings(api_keys={"alice": KEY}))
    with TestClient(create_app(settings), headers={"Authorization": f"Bearer {KEY}"}) as client:
        long = {"text": "x" * 2_000} if send is post else {"content": b"x" * 2_000}
        problem(send(client, **long), 413)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("/v1/documents?limit=0", "limit"),
        ("/v1/documents?limit=201", "limit"),
        ("/v1/documents?after=dogs", "after"),
        ("/v1/documents/dogs", "document_id"),
    ],
)
def test_a_wrong_parameter_is_a_problem_that_names_it(
    client: TestClient, path: str, wrong: str
) -> None:
    assert problem(client.get(path), 422)["errors"][0]["field"] == wrong


def test_a_service_whose_index_is_another_models_says_so_and_takes_nothing_in(
    fresh_database: str, client: TestClient
) -> None:
    async def ingest() -> None:
        async with open_rag(fresh_database, Meanings()) as rag:
            await rag.ready("A dog.")

    asyncio.run(ingest())
    search = client.post("/v1/search", json={"query": "dog"})
    for answer in (post(client), upload(client), search, client.get("/health/ready")):
        assert "poe ingest --rebuild" in problem(answer, 503)["detail"]
    assert problem(search, 503)["code"] == "index_mismatch"


def test_a_worker_in_the_service_makes_a_document_findable(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER__IN_PROCESS", "true")
    monkeypatch.setenv("WORKER__POLL_SECONDS", "0.05")
    settings = Settings(security=SecuritySettings(api_keys={"alice": KEY}))
    with TestClient(create_app(settings), headers={"Authorization": f"Bearer {KEY}"}) as client:
        read = f"/v1/documents/{post(client).json()['id']}"
        empty = f"/v1/documents/{upload(client, content=b'').json()['id']}"
        deadline = time.monotonic() + 20
        while {client.get(read).json()["status"], client.get(empty).json()["status"]} != {
            "ready",
            "failed",
        }:
            assert time.monotonic() < deadline
        assert client.get(read).json()["chunks"] == 1
        assert client.get(empty).json()["error"].startswith("The document has no text")
        (found,) = client.post("/v1/search", json={"query": "dog"}).json()["results"]
        assert found["text"] == "A dog."


def operations(app: FastAPI) -> list[tuple[str, str]]:
    """Return every route that the service describes, method and path: those that delete last."""
    paths = app.openapi()["paths"].items()
    found = [(method.upper(), path) for path, described in paths for method in described]
    return sorted(found, key=lambda operation: operation[0] == "DELETE")


def bodies(path: str, document_id: str) -> Iterator[dict[str, Any]]:
    """Yield what to send to a route so that it does as much as it can, and then nothing."""
    question = "Where is the treasure buried?"
    by_path: dict[str, list[dict[str, Any]]] = {
        "/v1/documents": [{"title": "Map", "text": "A map.", "source_id": "chart-1"}],
        "/v1/search": [{"query": question}, {"query": question, "filter": {"by": "pirate"}}],
        "/v1/answers": [{"question": question}, {"question": question, "stream": True}],
    }
    for body in (*by_path.get(path, []), {}):
        yield {"json": body}
    yield {"params": {"after": document_id, "limit": 200}}


def ask_everything(client: TestClient, app: FastAPI, document_id: str) -> Iterator[Response]:
    for method, path in operations(app):
        for sent in bodies(path, document_id):
            url = path.replace("{document_id}", document_id)
            yield client.request(method, url, **sent)


def test_no_route_returns_or_changes_what_is_anothers(
    app: FastAPI, client: TestClient, bob: TestClient, treasure: str
) -> None:
    before = client.get(f"/v1/documents/{treasure}").json()
    answers = list(ask_everything(bob, app, treasure))
    shown = "\n".join(answer.text for answer in answers)
    assert [secret for secret in SECRETS if secret in shown] == []
    assert {answer.status_code for answer in answers if treasure in str(answer.url.path)} == {404}
    assert client.get(f"/v1/documents/{treasure}").json() == before
    (found,) = client.post("/v1/search", json={"query": "treasure"}).json()["results"]
    assert SECRETS[0] in found["text"]


def test_the_same_requests_show_their_owner_what_they_must_not_show_others(
    app: FastAPI, client: TestClient, treasure: str
) -> None:
    """So the test above would see a leak."""
    shown = "\n".join(answer.text for answer in ask_everything(client, app, treasure))
    assert [secret for secret in SECRETS if secret not in shown] == []


def test_every_route_of_documents_needs_a_key(app: FastAPI, client: TestClient) -> None:
    del client.headers["Authorization"]
    paths = ("/v1/documents", "/v1/search", "/v1/answers")
    asked = [(m, p) for m, p in operations(app) if p.startswith(paths)]
    assert len(asked) >= 5
    for method, path in asked:
        problem(client.request(method, path), 401)


def test_without_any_keys_only_this_machine_is_served(shared_database: str) -> None:
    with TestClient(create_app(Settings()), client=("192.0.2.1", 1)) as client:
        problem(client.get("/v1/documents"), 403)
