"""What is in a project's database outlives the capability that put it there."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from copier import VcsRef, run_copy, run_update

from acceptance.databases import servers_of
from acceptance.services import service_with
from answers import label
from projects import commit, git, request, run, serving

FULL = service_with("openai", rag=True)
SENTENCE = "The lighthouse keeper counts the ships at dusk."

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group(label(FULL))]


def test_documents_are_found_again_when_rag_comes_back(snapshot: Path, tmp_path: Path) -> None:
    """With the embedded database, whose data stand in the project's own folder."""
    template, project = tmp_path / "template", tmp_path / "project"
    shutil.copytree(snapshot, template)
    commit(template, "first", tag="v0.1.0")
    run_copy(str(template), project, data=FULL, vcs_ref="v0.1.0", defaults=True, quiet=True)
    run("uv", "sync", "--quiet", cwd=project)
    commit(project, "generated")
    data = project / ".data/postgres"

    with serving(project) as address:
        body = {"title": "Lighthouse", "text": SENTENCE}
        status, added = request(f"{address}/v1/documents", body)
        assert status == 202
        deadline = time.monotonic() + 60
        while added["status"] != "ready" and time.monotonic() < deadline:
            time.sleep(0.02)
            _, added = request(f"{address}/v1/documents/{added['id']}")
        before = _seen(address)
        assert before["documents"] == [added]
        assert [passage["text"] for passage in before["results"]] == [SENTENCE]
    assert servers_of(data) == []
    assert git(project, "status", "--porcelain") == ""

    _update(project, rag=False)
    with serving(project) as address:
        assert request(f"{address}/health/ready") == (200, {"status": "ready"})
        assert request(f"{address}/v1/documents")[0] == 404
    assert servers_of(data) == []

    _update(project, rag=True)
    with serving(project) as address:
        assert _seen(address) == before
    assert servers_of(data) == []


def _update(project: Path, *, rag: bool) -> None:
    """Switch the capability as `copier update` does, and install what that needs."""
    run_update(
        project,
        data={"rag": rag},
        vcs_ref=VcsRef.CURRENT,
        defaults=True,
        overwrite=True,
        quiet=True,
    )
    run("uv", "sync", "--quiet", cwd=project)
    commit(project, f"rag is {rag}")


def _seen(address: str) -> dict[str, list[dict[str, object]]]:
    """Return what there is, and what a search finds."""
    answers = [
        request(f"{address}/v1/documents"),
        request(f"{address}/v1/search", {"query": SENTENCE}),
    ]
    assert [status for status, _ in answers] == [200, 200]
    return {name: found for _, answer in answers for name, found in answer.items()}
