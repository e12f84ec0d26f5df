"""What is in a project's database outlives the capability that put it there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from copier import VcsRef, run_copy, run_update

from acceptance.databases import servers_of
from acceptance.services import service_with, wait
from answers import Answers
from projects import commit, git, request, run, serving

SEARCH = service_with("openai", rag=True)
CHAT = service_with("openai")
SENTENCE = "The lighthouse keeper counts the ships at dusk."

pytestmark = pytest.mark.slow


def test_documents_are_found_again_when_rag_comes_back(snapshot: Path, tmp_path: Path) -> None:
    """With the embedded database, whose data stand in the project's own folder."""
    project = _generate(snapshot, tmp_path, SEARCH)
    data = project / ".data/postgres"

    with serving(project) as address:
        body = {"title": "Lighthouse", "text": SENTENCE}
        status, added = request(f"{address}/v1/documents", body)
        assert status == 202
        document = f"{address}/v1/documents/{added['id']}"
        wait(lambda: request(document)[1]["status"] == "ready")
        added = request(document)[1]
        before = _seen(address)
        assert before["documents"] == [added]
        assert [passage["text"] for passage in before["results"]] == [SENTENCE]
    assert servers_of(data) == []
    assert git(project, "status", "--porcelain") == ""

    _update(project, "rag", on=False)
    with serving(project) as address:
        # The database is there for the ledger.
        wait(lambda: request(f"{address}/health/ready")[0] == 200)
        assert request(f"{address}/v1/documents")[0] == 404
    assert servers_of(data) == []

    _update(project, "rag", on=True)
    with serving(project) as address:
        assert _seen(address) == before
    assert servers_of(data) == []


def test_what_calls_cost_is_known_again_when_monitoring_comes_back(
    snapshot: Path, tmp_path: Path
) -> None:
    project = _generate(snapshot, tmp_path, CHAT)
    data = project / ".data/postgres"

    with serving(project) as address:
        ids = [_chat(address) for _ in range(3)]
        assert _rate(address, ids[0], "up") == 201
    # What is written behind is there once the service has stopped.
    with serving(project) as address:
        before = _usage(address)
        assert before["calls"] == 3
    assert servers_of(data) == []
    assert git(project, "status", "--porcelain") == ""

    _update(project, "monitoring", on=False)
    with serving(project) as address:
        assert _chat(address)
        assert request(f"{address}/v1/usage")[0] == 404
        assert request(f"{address}/health/ready") == (200, {"status": "ready"})
        # Nothing needs a database now.
        assert servers_of(data) == []

    _update(project, "monitoring", on=True)
    with serving(project) as address:
        assert _usage(address) == before
        # A response from before can still be rated.
        assert _rate(address, ids[1], "down") == 201
    assert servers_of(data) == []


def _generate(snapshot: Path, folder: Path, answers: Answers) -> Path:
    """Return an installed project whose template can be updated."""
    template, project = folder / "template", folder / "project"
    shutil.copytree(snapshot, template)
    commit(template, "first", tag="v0.1.0")
    run_copy(str(template), project, data=answers, vcs_ref="v0.1.0", defaults=True, quiet=True)
    run("uv", "sync", "--quiet", cwd=project)
    commit(project, "generated")
    return project


def _update(project: Path, capability: str, *, on: bool) -> None:
    """Switch the capability as `copier update` does, and install what that needs."""
    run_update(
        project,
        data={capability: on},
        vcs_ref=VcsRef.CURRENT,
        defaults=True,
        overwrite=True,
        quiet=True,
    )
    run("uv", "sync", "--quiet", cwd=project)
    commit(project, f"{capability} is {on}")


def _seen(address: str) -> dict[str, list[dict[str, object]]]:
    """Return what there is, and what a search finds."""
    answers = [
        request(f"{address}/v1/documents"),
        request(f"{address}/v1/search", {"query": SENTENCE}),
    ]
    assert [status for status, _ in answers] == [200, 200]
    return {name: found for _, answer in answers for name, found in answer.items()}


def _chat(address: str) -> str:
    """Return the id of an answer."""
    body = {"messages": [{"role": "user", "content": SENTENCE}]}
    status, answer = request(f"{address}/v1/chat/completions", body)
    assert status == 200
    return str(answer["id"])


def _rate(address: str, id: str, rating: str) -> int:
    return request(f"{address}/v1/feedback", {"response_id": id, "rating": rating})[0]


def _usage(address: str) -> dict[str, Any]:
    """Return what all calls have used together."""
    status, answer = request(f"{address}/v1/usage")
    assert status == 200
    return dict(answer["totals"])
