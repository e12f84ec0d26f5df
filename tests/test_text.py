"""Any text in an answer either stands unharmed in the project or is refused with a sentence."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from copier import run_copy

from projects import python, recorded, request, run, serving, tree

DESCRIPTIONS = {
    "quotes": 'The "best" \'service\' and `code` in """three"""',
    "backslashes": r"C:\new\table \u0041 ends in \\",
    "braces": "Renders {{ project_name }} and {% raw %} and {# note #} and {{",
    "umlauts": "Prüft Größen für Ärzte, naïve café",
    "emoji": "Ships 🚀 to 👩‍💻 and 日本",
    "markup": "# not a heading <b>&amp;</b> | * _ [x](y) - $HOME %s",
    "yaml": "yes: no # null",
    "spaces": "  in   the middle  ",
    "long": "word " * 59 + "ends.",
}
REFUSED_DESCRIPTIONS = {
    "empty": "",
    "blank": "   ",
    "newline": "two\nlines",
    "carriage return": "two\rlines",
    "control": "bell \a",
    "delete": "\x7f",
    "separator": "line\u2028separator",
    "surrogate": "\ud800",
    "very long": "x" * 301,
}
NAMES = ["A", "Prüfdienst 2", "Fraud_Watch v1.5", "日本 Service", "x" * 60]
REFUSED_NAMES = [
    "",
    " ",
    "1st",
    "a ",
    'Say "hi"',
    "It's",
    "back\\slash",
    "{{ 7 }}",
    "{%",
    "Robot 🤖",
    "two\nlines",
    "a\n",
    "<b>",
    "a/b",
    "x" * 61,
]


def copy(snapshot: Path, target: Path, **answers: str) -> Path:
    run_copy(str(snapshot), target, data=answers, defaults=True, quiet=True)
    return target


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_a_description_stands_unharmed(snapshot: Path, tmp_path: Path, kind: str) -> None:
    text = DESCRIPTIONS[kind]
    project = copy(snapshot, tmp_path / "a project", description=text)
    pyproject = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))
    assert pyproject["project"]["description"] == text
    assert text.strip() in (project / "README.md").read_text("utf-8")
    assert recorded(project)["description"] == text


def test_a_description_changes_only_where_it_stands(snapshot: Path, tmp_path: Path) -> None:
    one = tree(copy(snapshot, tmp_path / "one", description="One."))
    two = tree(copy(snapshot, tmp_path / "two", description=DESCRIPTIONS["quotes"]))
    changed = {name for name in one if one[name] != two[name]}
    assert changed == {".copier-answers.yml", "README.md", "pyproject.toml"}


@pytest.mark.parametrize("kind", REFUSED_DESCRIPTIONS)
def test_a_description_that_cannot_stand_is_refused(
    snapshot: Path, tmp_path: Path, kind: str
) -> None:
    with pytest.raises(ValueError, match=r"The description [^\n]+\.$"):
        copy(snapshot, tmp_path / "project", description=REFUSED_DESCRIPTIONS[kind])
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_titles_the_readme(snapshot: Path, tmp_path: Path, name: str) -> None:
    project = copy(snapshot, tmp_path / "project", project_name=name, project_slug="ours")
    assert (project / "README.md").read_text("utf-8").startswith(f"# {name}\n")
    tomllib.loads((project / "pyproject.toml").read_text("utf-8"))


@pytest.mark.parametrize("name", REFUSED_NAMES)
def test_an_unsafe_name_is_refused(snapshot: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"The name of the service [^\n]+\.$"):
        copy(snapshot, tmp_path / "project", project_name=name, project_slug="ours")
    assert not (tmp_path / "project").exists()


@pytest.mark.slow
def test_a_project_with_difficult_text_passes_its_own_checks(
    snapshot: Path, tmp_path: Path
) -> None:
    text = " ".join(DESCRIPTIONS[kind] for kind in ("quotes", "backslashes", "braces", "emoji"))
    project = copy(
        snapshot, tmp_path / "a folder with späces", description=text, project_name="Prüfdienst 2.0"
    )
    run("uv", "sync", "--quiet", cwd=project)
    run("uv", "run", "poe", "check", cwd=project)
    # What asks a model, reads or rates sees neither the path nor the texts.
    parts = (f"--ignore=tests/{name}" for name in ("agent", "answers", "evals", "llm", "rag"))
    run("uv", "run", "poe", "test", *parts, cwd=project)
    told = run(
        python(project),
        "-c",
        "import importlib.metadata as m; print(m.metadata('pruefdienst-2-0')['Summary'])",
        cwd=project,
        env={"PYTHONIOENCODING": "utf-8"},
    )
    assert told.strip() == text
    with serving(project) as address:
        assert request(f"{address}/health/live")[0] == 200
