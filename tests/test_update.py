"""A project's life: generated, edited by its owner, updated, capabilities off and on again."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest
from copier import VcsRef, run_copy, run_update

from answers import CAPABILITIES, CHOICES, FULL, MINIMAL, NEEDS, Answers, is_valid, without
from owner import own
from projects import commit, edit, git, recorded, request, run, serving, tree

# The template's next version: a question more with a file it owns, and changes in files that the
# owner edits too. File, what stands there, what stands there then.
NEXT_VERSION = [
    (
        "copier.yml",
        "# --- What each answer owns",
        "haiku:\n  type: bool\n  help: Should it come with a poem?\n  default: false\n\n"
        "# --- What each answer owns",
    ),
    (
        "copier.yml",
        "    {% if not docker | default(true) %}\n",
        "    {% if not haiku | default(true) %}\n    /src/app/haiku.py\n    {% endif %}\n"
        "    {% if not docker | default(true) %}\n",
    ),
    (
        "template/pyproject.toml.jinja",
        '  "structlog>=',
        '{% if haiku %}\n  "rich>=14",\n{% endif %}\n  "structlog>=',
    ),
    ("template/pyproject.toml.jinja", '  "ruff>=0.15"', '  "ruff>=0.16"'),
    (
        "template/src/app/main.py.jinja",
        "    app.include_router(health)\n",
        "    app.include_router(health)\n    app.state.version = 2\n",
    ),
    (
        "template/src/app/settings.py.jinja",
        "    log: LogSettings = LogSettings()\n",
        "    log: LogSettings = LogSettings()\n    poems: int = 2\n",
    ),
    (
        "template/.env.example.jinja",
        "# LOG__FORMAT=json\n",
        "# LOG__FORMAT=json\n# POEMS=2\n",
    ),
    (
        "template/src/app/health.py",
        "\nrouter = ",
        "\nVERSION = 2\n\nrouter = ",
    ),
    (
        "template/README.md.jinja",
        "\n{{ description }}\n",
        "\n{{ description }}\n\nNow with poems.\n",
    ),
]


@pytest.fixture
def template(snapshot: Path, tmp_path: Path) -> Path:
    """The template as a repository with two versions."""
    repo = tmp_path / "template"
    shutil.copytree(snapshot, repo)
    commit(repo, "first", tag="v0.1.0")
    for name, before, after in NEXT_VERSION:
        edit(repo / name, before, after)
    (repo / "template/src/app/haiku.py").write_text('"""A poem."""\n\nLINE = "An old pond"\n')
    commit(repo, "second", tag="v0.2.0")
    return repo


def generate(template: Path, project: Path, answers: Answers, version: str = "v0.1.0") -> Path:
    run_copy(str(template), project, data=answers, vcs_ref=version, defaults=True, quiet=True)
    commit(project, "generated")
    return project


def update(project: Path, ref: str | VcsRef | None = None, **answers: str | bool) -> None:
    """Update as `copier update` does, and hold that nothing conflicts: it would still succeed."""
    run_update(project, data=answers, vcs_ref=ref, defaults=True, overwrite=True, quiet=True)
    states = {line[:2] for line in git(project, "status", "--porcelain").splitlines()}
    assert not states & {"UU", "AA", "DU", "UD", "AU", "UA", "DD"}
    for name, (_, text) in tree(project).items():
        assert b"<<<<<<<" not in text, name
        assert b">>>>>>>" not in text, name
        assert not name.endswith(".rej")


def switched(name: str, *, on: bool) -> Answers:
    """Return the answers that switch a capability, and what needs it."""
    return dict.fromkeys([name, *(each for each, needed in NEEDS.items() if needed == name)], on)


def without_record(project: Path) -> dict[str, tuple[int, bytes]]:
    """Return the project's files but the one that records the answers."""
    return {name: file for name, file in tree(project).items() if name != ".copier-answers.yml"}


def test_an_update_keeps_what_the_owner_wrote(template: Path, tmp_path: Path) -> None:
    project = generate(template, tmp_path / "my project", FULL)
    own(project)
    (project / "AGENTS.md").unlink()  # a file that the owner does not want
    commit(project, "without agents")

    update(project)

    assert recorded(project)["_commit"] == "v0.2.0"
    assert recorded(project)["haiku"] is False  # an update switches nothing on
    assert not (project / "src/app/haiku.py").exists()
    assert not (project / "AGENTS.md").exists()
    expected = {
        "src/app/main.py": ["app.include_router(orders)", "app.state.version = 2"],
        "src/app/settings.py": ['currency: str = "EUR"', "poems: int = 2"],
        "src/app/resources.py": ["desk: Desk", "desk=Desk(settings.currency)"],
        "src/app/health.py": ["VERSION = 2"],
        "pyproject.toml": ['"tabulate>=0.9"', '"ruff>=0.16"'],
        "README.md": ["What we sell.", "Now with poems."],
        ".env.example": ["CURRENCY=EUR"],
    }
    for name, lines in expected.items():
        text = (project / name).read_text("utf-8")
        assert [line for line in lines if line not in text] == [], name


@pytest.mark.parametrize("answers", [FULL, MINIMAL], ids=["full", "minimal"])
def test_an_updated_project_equals_a_fresh_one(
    template: Path, tmp_path: Path, answers: Answers
) -> None:
    project = generate(template, tmp_path / "project", answers)
    update(project, haiku=True)
    fresh = generate(template, tmp_path / "fresh", {**answers, "haiku": True}, "v0.2.0")
    assert tree(project) == tree(fresh)


@pytest.mark.parametrize("name", CAPABILITIES)
@pytest.mark.parametrize("others", ["on", "off"])
def test_a_capability_off_and_on_again_changes_no_byte(
    template: Path, tmp_path: Path, name: str, others: str
) -> None:
    """With the owner's edits in place, and next to all other capabilities or to none."""
    answers = FULL if others == "on" else {**MINIMAL, name: True}
    if not is_valid(answers):
        answers |= {"llm": True, "llm_provider": "openai"} if name in NEEDS else {"rag": True}
    project = generate(template, tmp_path / "project", answers)
    own(project)
    before = tree(project)

    update(project, VcsRef.CURRENT, **switched(name, on=False))
    commit(project, f"without {name}")
    off = generate(template, tmp_path / "off", without(answers, name))
    own(off)
    assert without_record(project) == without_record(off)

    back = {each: True for each in switched(name, on=True) if answers[each]}
    update(project, VcsRef.CURRENT, **back)
    assert tree(project) == before


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_there_and_back_changes_no_byte(template: Path, tmp_path: Path, name: str) -> None:
    project = generate(template, tmp_path / "project", FULL)
    own(project)
    before = tree(project)
    first, *others = CHOICES[name].values
    for value in [*others, first]:
        update(project, VcsRef.CURRENT, **{name: value})
        commit(project, f"{name} is {value}")
    assert tree(project) == before


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_outlives_its_capability(template: Path, tmp_path: Path, name: str) -> None:
    choice = CHOICES[name]
    project = generate(template, tmp_path / "project", {**FULL, name: choice.values[1]})
    before = tree(project)
    for switch in (False, True):
        update(project, VcsRef.CURRENT, **switched(choice.capability, on=switch))
        commit(project, f"{choice.capability} is {switch}")
    assert tree(project) == before


def test_what_the_owner_put_beside_a_capability_stays_when_it_goes(
    template: Path, tmp_path: Path
) -> None:
    project = generate(template, tmp_path / "project", FULL)
    (project / "src/app/llm/ours.py").write_text("OURS = 1\n")
    commit(project, "ours")
    update(project, VcsRef.CURRENT, **switched("llm", on=False))
    assert [path.name for path in (project / "src/app/llm").iterdir()] == ["ours.py"]


def test_difficult_text_survives_an_update(template: Path, tmp_path: Path) -> None:
    text = "The \"{{ best }}\" 'Größe' \\ {% of %} 🚀"
    project = generate(template, tmp_path / "project", {"description": text})
    update(project)
    assert recorded(project)["description"] == text
    pyproject = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))
    assert pyproject["project"]["description"] == text


@pytest.mark.slow
def test_an_updated_project_is_green(template: Path, tmp_path: Path) -> None:
    """The owner's life with real tools: `uv add` twice, the update, then off and on again."""
    project = generate(template, tmp_path / "project", FULL)
    run("uv", "sync", "--quiet", cwd=project)
    commit(project, "locked")
    own(project, with_uv=True)
    assert git(project, "ls-files", "uv.lock") == "uv.lock"
    for answers in ({}, switched("llm", on=False), switched("llm", on=True)):
        update(project, None if not answers else VcsRef.CURRENT, **answers)
        run("uv", "sync", "--quiet", cwd=project)
        run("uv", "run", "poe", "check", cwd=project)
        # What stands in the folders of the capabilities, no update has changed.
        shared = (path.relative_to(project) for path in project.glob("tests/test_*.py"))
        run("uv", "run", "poe", "test", "tests/orders", *shared, cwd=project)
        commit(project, f"updated {answers}")
    with serving(project) as address:
        assert request(f"{address}/orders") == (200, {"currency": "EUR"})
