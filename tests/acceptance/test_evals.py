"""`poe eval` in a project: what fails the gate, what does not, and what cannot be asked."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import yaml
from playwright.sync_api import Browser

from acceptance.browser import violations
from acceptance.model_server import model_server
from acceptance.services import service_with
from answers import FULL, Answers, label
from conftest import Install, Render
from projects import environment, run

pytestmark = pytest.mark.system

MODELS: Answers = {**service_with("openai"), "evals": True}
PROMPT = """+++
description = "{description}"
+++
{text}
"""


# --- All of it, offline ---------------------------------------------------------------------------


@pytest.mark.xdist_group("installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_is_asked_without_a_key_and_the_report_can_be_read(
    install: Install, browser: Browser, scheme: str, tmp_path: Path
) -> None:
    project = install(FULL)
    verdict, report = tmp_path / "verdict.json", tmp_path / "report.html"
    told = run(
        *("uv", "run", "poe", "eval", "--json", verdict, "--html", report),
        cwd=project,
    )
    assert "Evals passed" in told
    modules = json.loads(verdict.read_text())["modules"]
    assert [m["name"] for m in modules] == [
        *("agent", "agent_search", "answers", "chat", "classify", "extract", "retrieval"),
    ]
    assert [m["name"] for m in modules if not (m["flipped"] == [] and m["cases"] >= 10)] == []
    for width in (360, 1_200):
        options: Any = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
        page = browser.new_page(**options)
        page.goto(report.as_uri())
        assert page.title()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert violations(page) == []
        page.close()


# --- With a model that is scripted ----------------------------------------------------------------


class Project:
    """A service with evals whose models are at `url`."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.env = environment(
            OPENAI_API_KEY="sk-for-the-stub",
            LLM__BASE_URL=url,
            LLM__MODEL="openai-chat:scripted",
            LLM__ATTEMPTS="1",
        )

    def evals(self, *arguments: str, **env: str) -> tuple[int, str]:
        """Run `poe eval`; return its exit code and what it says."""
        ran = subprocess.run(
            ["uv", "run", "poe", "eval", *arguments],
            cwd=self.folder,
            env={**self.env, **env},
            capture_output=True,
            text=True,
        )
        return ran.returncode, ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def installed(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two more versions of a prompt, one worse and one better."""
    project = tmp_path_factory.mktemp("evals") / "project"
    shutil.copytree(render(MODELS), project)
    prompts = project / "src/app/prompts/classify"
    for version, text in {2: "WORSE: say other.", 3: "BETTER: look at all of the text."}.items():
        description = text.partition(":")[0]
        (prompts / f"{version}.md").write_text(PROMPT.format(description=description, text=text))
    run("uv", "sync", "--quiet", cwd=project)
    return project


@pytest.fixture(scope="module")
def labels(installed: Path) -> dict[str, str]:
    """What people say of each text of the dataset."""
    cases = yaml.safe_load((installed / "evals/datasets/classify.yaml").read_text())["cases"]
    return {case["inputs"]: case["expected_output"] for case in cases}


@pytest.fixture(scope="module")
def project(installed: Path, labels: dict[str, str]) -> Iterator[Project]:
    """Its model labels as the prompt makes it; its judge is wrong about every fifth text."""
    reworded = {text for number, text in enumerate(labels) if number >= 23}

    def answering(system: str, said: Sequence[str]) -> str:
        asked = said[-1]
        if "rubric" in system:
            return json.dumps({"critique": "So it seems.", "passes": crc32(asked.encode()) % 5 > 0})
        if "Classify" not in system and "WORSE" not in system and "BETTER" not in system:
            return f"You said {' and '.join(said)}"
        right = "BETTER" in system or (asked not in reworded and "WORSE" not in system)
        label = labels[asked] if right else "other"
        return json.dumps({"rationale": "So it seems.", "label": label})

    with model_server(answering) as url:
        project = Project(installed, url)
        code, told = project.evals("classify", "--prompt", "classify@1", "--save-baseline")
        assert code == 0, told
        yield project


@pytest.mark.xdist_group(label(MODELS))
def test_a_worse_prompt_fails_a_better_one_passes_and_going_back_is_one_setting(
    project: Project, tmp_path: Path
) -> None:
    code, told = project.evals("classify", "--prompt", "classify@2")
    assert (code, "is newly failing" in told) == (1, True), told
    # Without a setting the newest version is active.
    code, told = project.evals("classify")
    assert (code, "is newly passing" in told) == (0, True), told
    report = tmp_path / "report.html"
    back = {"LLM__PROMPTS": '{"classify": "1"}'}
    code, told = project.evals("classify", "--html", str(report), **back)
    assert (code, "newly" in told) == (0, False), told
    assert "classify/1" in report.read_text()
    code, told = project.evals("classify", LLM__PROMPTS='{"classify": "2"}')
    assert code == 1, told


@pytest.mark.xdist_group(label(MODELS))
def test_a_prompt_is_compared_with_the_one_before(project: Project) -> None:
    told = run(
        *("uv", "run", "poe", "prompt", "diff", "classify@1", "classify@2"),
        cwd=project.folder,
        env=project.env,
    )
    assert "-Classify the text that the user gives you." in told
    assert "+WORSE: say other." in told
    assert "  fails now: i was charged twice" in told
    assert "  fail: The rate of the 30 cases" in told


@pytest.mark.xdist_group(label(MODELS))
def test_one_case_that_must_pass_is_enough(project: Project, labels: dict[str, str]) -> None:
    dataset = project.folder / "evals/datasets/classify.yaml"
    before = dataset.read_text()
    text = next(text for text, label in labels.items() if label == "billing")
    assert before.count(f'inputs: "{text}"\n  expected_output: billing') == 1
    # Its label is another one from now on, so the answer is wrong.
    changed = f'inputs: "{text}"\n  expected_output: sales'
    dataset.write_text(before.replace(f'inputs: "{text}"\n  expected_output: billing', changed))
    try:
        code, told = project.evals("classify", "--prompt", "classify@1")
    finally:
        dataset.write_text(before)
    assert (code, "must pass" in told) == (1, True), told


@pytest.mark.xdist_group(label(MODELS))
def test_a_judge_that_errs_in_a_fifth_turns_nothing_red(project: Project) -> None:
    judge = ("--judge", "openai-chat:judge")
    code, told = project.evals("chat", *judge)
    assert (code, "does not gate" in told) == (0, True), told
    code, told = project.evals("chat", *judge, "--calibrate")
    assert (code, "may not gate" in told, "kappa" in told) == (0, True, True), told
    code, told = project.evals("chat", *judge)
    assert (code, "may not gate" in told) == (0, True), told


@pytest.mark.xdist_group(label(MODELS))
def test_a_judge_of_its_own_answers_has_to_be_asked_for(project: Project) -> None:
    code, told = project.evals("chat", "--judge", "openai-chat:scripted")
    assert (code, "would judge its own answers" in told) == (2, True), told


@pytest.mark.xdist_group(label(MODELS))
@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [
        (["--live"], {"LLM__BASE_URL": "http://127.0.0.1:9/v1"}, "is out of reach"),
        (["--live", "--max-usd", "1"], {}, "costs is not known, so --max-usd cannot hold"),
        (["--prompt", "classify@9"], {}, "there is no prompt classify/9"),
        (["--model", "somebody:else"], {}, "'somebody:else' is no model here"),
        (["--calibrate"], {}, "are about a judge: name it with --judge"),
    ],
)
def test_what_cannot_be_asked_exits_with_2_and_one_line(
    project: Project, arguments: list[str], env: dict[str, str], said: str
) -> None:
    code, told = project.evals("classify", *arguments, **env)
    assert (code, said in told) == (2, True), told
    assert "Traceback" not in told


@pytest.mark.xdist_group(label(MODELS))
def test_a_recording_is_replayed_without_a_key_and_nothing_else_is(project: Project) -> None:
    code, told = project.evals("classify", "--prompt", "classify@1", "--record")
    assert code == 0, told
    other = ("--model", "openai-chat:other")
    code, told = project.evals("classify", "--prompt", "classify@1", "--record", *other)
    assert (code, "The recordings are of openai-chat:scripted" in told) == (2, True), told
    nowhere = {"OPENAI_API_KEY": "", "LLM__BASE_URL": "", "LLM__MODEL": ""}
    code, told = project.evals("classify", "--prompt", "classify@1", "--replay", **nowhere)
    assert code == 0, told
    code, told = project.evals("classify", "--prompt", "classify@2", "--replay", **nowhere)
    assert (code, "is no recording" in told) == (2, True), told
