"""Each distinct service, installed alone from scratch: its types, its tests, and a live request.

`SERVICES` are all there are, and `PROVED` those that prove the others, too (test_ownership.py holds
both). Each is installed without the others' dependencies, so a missing one cannot hide behind them.
"""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from urllib.request import urlopen

import pytest

from answers import FULL, PROVED, WITH_EVALS, Answers, label, without
from conftest import Install, Render
from projects import environment, postgres, python, request, run, serving, tree


# One worker of pytest-xdist takes all tests of one service, and installs it once.
def _each(services: list[Answers]) -> pytest.MarkDecorator:
    groups = {label(answers): answers for answers in services}
    return pytest.mark.parametrize(
        "answers",
        [pytest.param(a, id=n, marks=pytest.mark.xdist_group(n)) for n, a in groups.items()],
    )


def _has_more(answers: Answers) -> bool:
    return bool(answers["rag"] or answers["agent"])


# With the most dependencies.
LOWEST = next(answers for answers in WITH_EVALS if answers.get("llm_provider") == "both")
# The own tests of these run below, with what evals add.
WITH_MORE = [without(FULL, "evals", "docker", "ci"), without(LOWEST, "evals")]

EVERY_SERVICE = _each(PROVED)
# A provider changes nothing beyond the tests of llm (test_ownership.py).
EVERY_OTHER_SERVICE = _each(
    [
        answers
        for answers in PROVED
        if answers not in WITH_MORE
        and (answers.get("llm_provider", "openai") == "openai" or not _has_more(answers))
    ]
)
# They are the same with each provider and monitoring (test_ownership.py).
EVERY_SERVICE_WITH_EVALS = _each(
    [
        answers
        for answers in WITH_EVALS
        if answers.get("llm_provider", "openai") == "openai" and answers["monitoring"]
    ]
)
WATCH_IMPORTS = Path(__file__).with_name("watch_imports.py")

CHAT = """
import sys
from openai import OpenAI

client = OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)
model = next(iter(client.models.list())).id
ask = {"model": model, "messages": [{"role": "user", "content": "Say hello."}]}
whole = client.chat.completions.create(**ask)
chunks = [chunk for chunk in client.chat.completions.create(**ask, stream=True) if chunk.choices]
texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
assert whole.choices[0].message.content == "".join(texts), (whole, texts)
assert len(texts) > 1
assert whole.choices[0].finish_reason == chunks[-1].choices[0].finish_reason == "stop"
print(model)
"""


def chat(project: Path, address: str) -> str:
    """Talk to the service with the official client, plain and streamed; return the model's name."""
    return run(python(project), "-c", CHAT, address, cwd=project).strip()


@pytest.mark.xdist_group("installed")
def test_a_fresh_service_chats_with_the_official_client(install: Install) -> None:
    """The main job, on what `copier copy --defaults` gives: no key, no Docker, nothing to set."""
    project = install(FULL)
    with serving(project) as address:
        assert request(f"{address}/health/ready")[0] == 200
        assert chat(project, address) == "offline"


@pytest.mark.xdist_group("installed")
def test_a_fresh_service_passes_its_own_tests(install: Install) -> None:
    """Also where terminals are said to be as in a pipeline."""
    env = environment(CI="true", GITHUB_ACTIONS="true")
    run("uv", "run", "poe", "test", cwd=install(FULL), env=env)


@pytest.mark.slow
@EVERY_SERVICE
def test_a_service_passes_its_own_checks(answers: Answers, install: Install) -> None:
    project = install(answers)
    before = tree(project)
    run("uv", "run", "poe", "check", cwd=project)
    run("uv", "run", "poe", "fix", cwd=project)
    assert tree(project) == before


@pytest.mark.slow
@EVERY_OTHER_SERVICE
def test_a_service_passes_its_own_tests(answers: Answers, install: Install) -> None:
    project = install(answers)
    run("uv", "run", "poe", "test", cwd=project)


@pytest.mark.slow
def test_drift_is_found_and_seldom_where_there_is_none(install: Install) -> None:
    """In so many windows that it would show; its own tests take a few."""
    tests = "tests/monitoring/drift/test_alarms.py"
    env = environment(DRIFT_WINDOWS="400")
    options = ("-s", "-o", "faulthandler_timeout=1800")
    told = run("uv", "run", "poe", "test", *options, tests, cwd=install(FULL), env=env)
    assert "of 400 alarms are false" in told


@pytest.mark.slow
@EVERY_SERVICE_WITH_EVALS
def test_evals_pass_the_checks_their_own_tests_and_the_gate(
    answers: Answers, install: Install
) -> None:
    """The service beside them is one of the others, to the byte (test_ownership.py)."""
    project = install(answers)
    before = tree(project)
    run("uv", "run", "poe", "check", cwd=project)
    run("uv", "run", "poe", "fix", cwd=project)
    assert tree(project) == before
    run("uv", "run", "poe", "test", "tests/evals", cwd=project)
    assert "Evals passed" in run("uv", "run", "poe", "eval", cwd=project)


@pytest.mark.slow
@EVERY_SERVICE
def test_a_service_boots_and_answers(answers: Answers, install: Install) -> None:
    project = install(answers)
    with serving(project) as address:
        for path in ("live", "ready"):
            assert request(f"{address}/health/{path}")[0] == 200
        assert request(f"{address}/nothing-here")[0] == 404
        if answers["llm"]:
            assert chat(project, address) == "offline"
        if answers["rag"]:
            document = {"title": "Hours", "text": "The shop opens at nine."}
            assert request(f"{address}/v1/documents", document)[0] == 202
            assert request(f"{address}/v1/search", {"query": "opens"})[0] == 200
        if answers["agent"]:
            assert request(f"{address}/v1/runs", {"input": "What is 6 * 7?"})[0] == 202
        if answers["monitoring"]:
            with urlopen(f"{address}/metrics", timeout=30) as metrics:  # noqa: S310 (loopback)
                assert b"http_server_request_duration_seconds_count" in metrics.read()


@pytest.mark.slow
@EVERY_SERVICE
def test_importing_every_module_does_nothing(
    answers: Answers, install: Install, tmp_path: Path
) -> None:
    """In an empty environment: none is read, nothing written, no thread, process or connection."""
    told = run(python(install(answers)), WATCH_IMPORTS, cwd=tmp_path, env={})
    found = json.loads(told)
    assert "app.main" in found["names"]
    assert found["events"] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@EVERY_SERVICE
def test_a_service_runs_without_its_development_tools(
    answers: Answers, render: Render, tmp_path: Path
) -> None:
    """As in an image: a dependency that only the development tools bring would be missing here."""
    project = tmp_path / "project"
    shutil.copytree(render(answers), project)
    run("uv", "sync", "--quiet", "--no-dev", cwd=project)
    run(python(project), WATCH_IMPORTS, cwd=project, env={})
    with_database = _has_more(answers) or (answers["llm"] and answers["monitoring"])
    with postgres() if with_database else nullcontext() as url:
        env = {"DATABASE__URL": url} if url else {}
        if url:
            run(python(project), "-m", "app", "migrate", cwd=project, env=env)
        run(python(project), "-m", "app", "doctor", cwd=project, env=env)
        with serving(project, **env) as address:
            assert request(f"{address}/health/ready")[0] == 200


@pytest.mark.slow
def test_the_lowest_versions_that_it_allows_work(render: Render, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(render(LOWEST), project)
    run("uv", "sync", "--quiet", "--resolution=lowest-direct", cwd=project)
    run(python(project), "-m", "pytest", "--quiet", cwd=project)
