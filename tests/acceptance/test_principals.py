"""Two principals on one service: what one of them gives in is nobody else's, and goes when it goes.

The service works no queue here: a worker runs when a test wants it to, so that what holds before
can be looked at in peace.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from acceptance.databases import Postgres, data_folder, postgres
from acceptance.services import running, service_with
from answers import label
from conftest import Install
from projects import environment, python, run

FULL = service_with("openai", rag=True)
KEYS = {name: f"the-key-of-{name}-for-tests-only" for name in ("alice", "bob")}
SAFE = "The safe of the Meridian office opens with tulip-4711."
METADATA = {"team": "meridian-board"}
OF_ALICE = {"title": "Meridian", "text": SAFE, "source_id": "safe", "metadata": METADATA}
QUESTION = "With what does the safe of the Meridian office open?"
CHAT = {"messages": [{"role": "user", "content": QUESTION}]}

# What Bob asks of each operation; {document_id} is Alice's, and the answer has none of her words.
ASKED: dict[tuple[str, str], list[Any]] = {
    ("get", "/health/live"): [None],
    ("get", "/health/ready"): [None],
    ("get", "/metrics"): [None],
    ("get", "/v1/models"): [None],
    ("get", "/v1/usage?group_by=principal"): [None],
    ("post", "/v1/chat/completions"): [CHAT, {**CHAT, "stream": True}],
    ("post", "/v1/feedback"): [{"response_id": "answer-1", "rating": "up"}],
    ("post", "/v1/extract"): [{"text": "A document of mine."}],
    ("post", "/v1/classify"): [{"text": "A document of mine."}],
    ("post", "/v1/answers"): [
        {"question": QUESTION},
        {"question": QUESTION, "stream": True},
        {"question": QUESTION, "filter": METADATA},
    ],
    ("post", "/v1/search"): [
        {"query": QUESTION, "limit": 50},
        {"query": SAFE},
        {"query": "tulip-4711"},
        {"query": SAFE, "filter": METADATA},
    ],
    ("get", "/v1/documents"): [None],
    ("get", "/v1/documents?after={document_id}"): [None],
    ("get", "/v1/documents/{document_id}"): [None],
    ("delete", "/v1/documents/{document_id}"): [None],
    ("post", "/v1/documents"): [{"title": "Mine", "text": "Of the safe I know nothing."}],
}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group(label(FULL))]


@dataclass
class Shop:
    """A running service, its database, and a client for each principal."""

    project: Path
    settings: dict[str, str]
    folder: Path
    database: Postgres
    alice: httpx2.Client
    bob: httpx2.Client

    @contextmanager
    def working(self) -> Iterator[None]:
        """Run a worker through the body; it ends as asked, and nothing went wrong meanwhile."""
        log_path = self.folder / "worker.log"
        command: list[str | Path] = [python(self.project), "-m", "app", "worker"]
        env = environment(**self.settings)
        with log_path.open("wb") as log:
            worker = subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=log)
        try:
            yield
        finally:
            worker.terminate()
            ended = worker.wait(timeout=30)
        assert ended == 0
        assert '"level": "error"' not in log_path.read_text()

    def add(self, client: httpx2.Client, **document: Any) -> dict[str, Any]:
        answer = client.post("/v1/documents", json=document)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def wait(self, client: httpx2.Client, id: str, *, stage: str = "ready") -> dict[str, Any]:
        """Read a document until it has come to this stage, or further."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            document = client.get(f"/v1/documents/{id}").json()
            if document["stage"] == stage:
                return dict(document)
            assert document["status"] != "failed", document
            time.sleep(0.02)
        raise AssertionError(document)

    def take_in(self, client: httpx2.Client, **document: Any) -> dict[str, Any]:
        """Add a document, and work until it can be found."""
        added = self.add(client, **document)
        with self.working():
            return self.wait(client, added["id"])

    def found(self, client: httpx2.Client, query: str) -> list[str]:
        """Return the texts that a search finds."""
        answer = client.post("/v1/search", json={"query": query, "limit": 50})
        assert answer.status_code == 200, answer.text
        return [passage["text"] for passage in answer.json()["results"]]

    def chunks(self, id: str) -> int:
        query = "SELECT count(*) AS n FROM rag.chunks WHERE document_id = %s"
        return self.database.counts(query, id)[0]

    def traces(self, text: str) -> list[str]:
        """Name the tables, of whatever schema, that have a row with `text` in it."""
        tables = self.database.rows(_TABLES)
        query = "SELECT count(*) AS n FROM {} AS t WHERE strpos(CAST(t AS text), %s) > 0"
        return [
            row["name"]
            for row in tables
            if self.database.counts(query.format(row["name"]), text) != [0]
        ]


@pytest.fixture(scope="module")
def shop(install: Install, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    project, folder = install(FULL), tmp_path_factory.mktemp("shop")
    with data_folder() as data, postgres(project, data) as database:
        settings = {
            "DATABASE__URL": database.url,
            "WORKER__IN_PROCESS": "false",
            "WORKER__POLL_SECONDS": "0.05",
            "RAG__EMBEDDING_BATCH_SIZE": "4",
            "RAG__CHUNK_TOKENS": "32",
            "SECURITY__API_KEYS": json.dumps(KEYS),
        }
        run(python(project), "-m", "app", "migrate", cwd=folder, env=environment(**settings))
        with running(project, folder / "serve.log", **settings) as service:
            clients = [
                httpx2.Client(
                    base_url=service.address,
                    headers={"Authorization": f"Bearer {key}"},
                    timeout=30,
                )
                for key in KEYS.values()
            ]
            with clients[0] as alice, clients[1] as bob:
                yield Shop(project, settings, folder, database, alice, bob)


def test_no_route_gives_or_takes_anything_of_another_principal(shop: Shop) -> None:
    known = {(method, path.partition("?")[0]) for method, path in ASKED}
    described = shop.alice.get("/openapi.json").json()["paths"]
    assert known == {(method, path) for path, routes in described.items() for method in routes}

    id = shop.take_in(shop.alice, **OF_ALICE)["id"]
    shop.take_in(shop.bob, title="Mine", text="The safe is mine, and it is open.")
    before = _seen(shop.alice, id)
    assert SAFE in before
    for (method, path), bodies in ASKED.items():
        for body in bodies:
            json_body = {} if body is None else {"json": body}
            answer = shop.bob.request(method, path.format(document_id=id), **json_body)
            theirs = path.endswith(("{document_id}", "/feedback"))
            expected = (404,) if theirs else (200, 202)
            assert answer.status_code in expected, (path, answer.text)
            said = answer.text.replace(id, "") if 404 in expected else answer.text
            for word in (id, "tulip", "meridian-board", "Meridian", '"safe"'):
                # What is asked may be repeated; what is found may not.
                repeated = body is not None and path.startswith("/v1/chat") and word in str(body)
                assert word not in said or repeated, (path, word, answer.text)
    assert _seen(shop.alice, id) == before
    unknown = "00000000-0000-4000-8000-000000000000"
    for path in ("/v1/documents/{}", "/v1/documents?after={}"):
        alices, nobodys = (shop.bob.get(path.format(each)) for each in (id, unknown))
        assert alices.text.replace(id, "") == nobodys.text.replace(unknown, "")


def _seen(client: httpx2.Client, id: str) -> str:
    """Return all that its owner sees of a document."""
    search = client.post("/v1/search", json={"query": SAFE})
    answers = [client.get(f"/v1/documents/{id}"), client.get("/v1/documents"), search]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    return "\n".join(answer.text for answer in answers)


def test_the_same_from_two_principals_is_two_documents(shop: Shop) -> None:
    text = "The same leaflet on glacier walks goes to both of them."
    ids = [shop.add(client, title="Leaflet", text=text)["id"] for client in (shop.alice, shop.bob)]
    named = {"title": "Leaflet", "text": f"{text} By name.", "source_id": "leaflet"}
    ids += [shop.add(client, **named)["id"] for client in (shop.alice, shop.bob)]
    assert len(set(ids)) == 4
    with shop.working():
        for client, id in zip([shop.alice, shop.bob] * 2, ids, strict=True):
            shop.wait(client, id)
    for client in (shop.alice, shop.bob):
        assert sum("glacier" in found for found in shop.found(client, text)) == 2
    for id in (ids[0], ids[2]):
        assert shop.alice.delete(f"/v1/documents/{id}").status_code == 204
    assert not any("glacier" in found for found in shop.found(shop.alice, text))
    assert sum("glacier" in found for found in shop.found(shop.bob, text)) == 2
    assert [shop.chunks(id) for id in ids] == [0, 1, 0, 1]


def test_the_same_document_again_changes_nothing(shop: Shop) -> None:
    document = {"title": "Ferry", "text": _sections("The ferry leaves pier"), "source_id": "ferry"}
    first = shop.take_in(shop.alice, **document)
    chunks = shop.chunks(first["id"])
    assert chunks == first["chunks"] > 3
    assert shop.add(shop.alice, **document) == first
    assert shop.chunks(first["id"]) == chunks
    assert shop.database.counts(_WORKFLOWS, first["id"]) == [1]


def test_a_new_version_takes_the_place_of_the_old_one_when_it_is_ready(shop: Shop) -> None:
    old, new = _sections("The heron nests on roof"), _sections("The osprey hunts at lake", 3)
    first = shop.take_in(shop.alice, title="Birds", text=old, source_id="birds")
    added = shop.add(shop.alice, title="Birds", text=new, source_id="birds")
    assert added["id"] == first["id"]
    assert (added["status"], added["version"]) == ("queued", 2)

    assert any("heron" in text for text in shop.found(shop.alice, "heron roof"))
    assert not any("osprey" in text for text in shop.found(shop.alice, "osprey lake"))
    assert shop.chunks(first["id"]) == first["chunks"] == added["chunks"]

    with shop.working():
        ready = shop.wait(shop.alice, first["id"])
    assert not any("heron" in text for text in shop.found(shop.alice, "heron roof"))
    assert any("osprey" in text for text in shop.found(shop.alice, "osprey lake"))
    assert shop.chunks(first["id"]) == ready["chunks"] < first["chunks"]
    assert shop.traces("heron") == []


def test_of_a_deleted_document_no_table_has_a_row(shop: Shop) -> None:
    document = {"title": "Mushrooms", "source_id": "mushrooms"}
    id = shop.take_in(shop.alice, **document, text=_sections("The chanterelle grows in wood"))["id"]
    shop.take_in(shop.alice, **document, text=_sections("The porcini grows in wood"))
    assert shop.traces(id)
    assert shop.alice.delete(f"/v1/documents/{id}").status_code == 204
    assert shop.alice.get(f"/v1/documents/{id}").status_code == 404
    assert shop.alice.delete(f"/v1/documents/{id}").status_code == 404
    assert shop.traces(id) == []
    assert shop.traces("porcini") == shop.traces("chanterelle") == []


def test_a_document_that_is_deleted_while_it_waits_is_never_taken_in(shop: Shop) -> None:
    id = shop.add(shop.alice, title="Waiting", text="The walrus waits on the ice.")["id"]
    assert shop.alice.delete(f"/v1/documents/{id}").status_code == 204
    shop.take_in(shop.alice, title="Other", text="The seal came after it.")
    assert shop.traces(id) == shop.traces("walrus") == []


def test_a_document_that_is_deleted_while_it_is_taken_in_leaves_nothing(shop: Shop) -> None:
    id = shop.add(shop.alice, title="Long", text=_sections("The beetle eats leaf", 1_500))["id"]
    with shop.working():
        shop.wait(shop.alice, id, stage="embed")
        assert shop.alice.delete(f"/v1/documents/{id}").status_code == 204
        later = shop.add(shop.alice, title="Later", text="The moth came after it.")["id"]
        shop.wait(shop.alice, later)
    assert shop.traces(id) == shop.traces("beetle") == []


def _sections(sentence: str, count: int = 8) -> str:
    """Write a document that has some chunks."""
    more = "It is so every day. " * 4
    return "\n\n".join(f"## Part {n}\n\n{sentence} {n}. {more}" for n in range(count))


_TABLES = """
    SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
    WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"""
_WORKFLOWS = "SELECT count(*) AS n FROM dbos.workflow_status WHERE strpos(workflow_uuid, %s) > 0"
