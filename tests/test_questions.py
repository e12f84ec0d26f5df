"""The questions: few, asked alike by both tools, and answered safely by anybody."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config
from copier import run_copy

from answers import CAPABILITIES, CHOICES, FULL
from conftest import ROOT, Render
from projects import recorded

COPIER: dict[str, Any] = yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))
COOKIECUTTER: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text("utf-8"))
QUESTIONS = {name: question for name, question in COPIER.items() if not name.startswith("_")}


def test_the_tests_know_every_question() -> None:
    text = ["project_name", "project_slug", "description"]
    assert sorted(QUESTIONS) == sorted([*text, *CAPABILITIES, *CHOICES])


@pytest.mark.parametrize("name", CAPABILITIES)
def test_a_capability_is_on_by_a_plain_default(name: str) -> None:
    """A computed default would turn a stored answer off on update."""
    assert QUESTIONS[name]["type"] == "bool"
    assert QUESTIONS[name]["default"] is True


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_is_asked_only_where_its_capability_is_on(name: str) -> None:
    choice, question = CHOICES[name], QUESTIONS[name]
    assert question["ask"] == f"{{{{ {choice.capability} }}}}"
    assert tuple(question["choices"].values()) == choice.values
    assert question["default"] == choice.values[0]
    assert next(iter(question["choices"])).endswith("(recommended)")


def test_no_question_is_conditional() -> None:
    """Cookiecutter cannot skip a question, and Copier forgets the answer to a skipped one."""
    assert not [name for name, question in QUESTIONS.items() if "when" in question]


def test_each_question_is_a_sentence() -> None:
    for name, question in QUESTIONS.items():
        assert re.match(r"[A-Z].*[?.)]", question["help"]), name


def test_nothing_needs_trust() -> None:
    """Copier asks for --trust before it runs any of these, so the template has none."""
    assert not {"_tasks", "_migrations", "_jinja_extensions"} & set(COPIER)


def test_cookiecutter_json_is_generated() -> None:
    script = ROOT / "scripts/sync_cookiecutter.py"
    ran = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_both_tools_ask_the_same_in_the_same_order() -> None:
    assert [name for name in COOKIECUTTER if not name.startswith("_")] == list(QUESTIONS)
    assert list(COOKIECUTTER["__prompts__"]) == list(QUESTIONS)
    assert {"template", "templates"}.isdisjoint(QUESTIONS)  # Cookiecutter keeps these for itself


@pytest.mark.parametrize(
    "name", ["My AI Service", "Fraud_Watch 2", "A-b.c", "Überprüfung", "Łódź Café", "日本 Service"]
)
def test_both_tools_have_the_same_defaults(snapshot: Path, tmp_path: Path, name: str) -> None:
    data = {"project_name": name}
    run_copy(str(snapshot), tmp_path / "project", data=data, defaults=True, quiet=True)
    copied = recorded(tmp_path / "project")
    context = generate_context(str(ROOT / "cookiecutter.json"), extra_context=data)
    asked = prompt_for_config(context, no_input=True)
    assert {key: asked[key] for key in QUESTIONS} == {key: copied[key] for key in QUESTIONS}


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Fraud_Watch  v1.5", "fraud-watch-v1-5"),
        ("Ærø Größe Über", "aero-groesse-ueber"),
        ("Ñandú Řeč Świat Œuvre", "nandu-rec-swiat-oeuvre"),
        ("日本 Service", "service"),
    ],
)
def test_a_short_name_is_made_of_letters_that_every_tool_takes(
    snapshot: Path, tmp_path: Path, name: str, slug: str
) -> None:
    data = {"project_name": name}
    run_copy(str(snapshot), tmp_path / "project", data=data, defaults=True, quiet=True)
    assert recorded(tmp_path / "project")["project_slug"] == slug


def test_a_name_that_makes_no_short_name_is_refused_with_what_to_do(
    snapshot: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match='short name "" cannot be used, so answer project_slug'):
        run_copy(str(snapshot), tmp_path, data={"project_name": "日本"}, defaults=True, quiet=True)


def test_a_project_cannot_take_the_name_of_what_it_depends_on(render: Render) -> None:
    project = tomllib.loads((render(FULL) / "pyproject.toml").read_text("utf-8"))
    requirements = [
        *project["project"]["dependencies"],
        *(line for extra in project["project"]["optional-dependencies"].values() for line in extra),
        *(line for group in project["dependency-groups"].values() for line in group),
        *project["build-system"]["requires"],
    ]
    names = {re.split(r"[^\w-]", line)[0].replace("_", "-") for line in requirements}
    refused = QUESTIONS["project_slug"]["validator"]
    assert [
        name for name in sorted(names) if not re.search(rf"(?<![\w-]){name}(?![\w-])", refused)
    ] == []


@pytest.mark.parametrize(
    "slug",
    [
        "Upper",
        "1st",
        "-a",
        "a-",
        "a--b",
        "a_b",
        "a b",
        "",
        "ä",
        "a/b",
        "../a",
        "a\n",
        "con",
        "a" * 61,
    ],
)
def test_a_short_name_that_no_tool_could_use_is_refused(
    snapshot: Path, tmp_path: Path, slug: str
) -> None:
    with pytest.raises(ValueError, match="short name"):
        run_copy(
            str(snapshot),
            tmp_path / "project",
            data={"project_slug": slug},
            defaults=True,
            quiet=True,
        )
    assert not (tmp_path / "project").exists()
