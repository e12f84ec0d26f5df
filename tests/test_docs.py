"""What the docs say holds: commands run, and files, links, tasks and settings exist.

Both the pages of this repository and those of the generated projects.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import tempfile
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from copier import run_copy

from answers import FULL, MINIMAL, VALID, Answers, label
from conftest import ROOT, Install, Render
from projects import commit, edit, environment, git, python, run, tree

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)
# Blocks in these languages are run, the others hold no command.
RUN = {"sh", "python"}
SHOWN = {"diff", "dotenv", "text", "toml", "yaml"}

# --- What the commands need -------------------------------------------------------------------

NOT_RUN = {
    r"(PORT=\S+ )?docker .*": "tests/deployment/test_image.py builds and runs the image",
    r"uv run pytest": "this is it; .ci/run runs it from a fresh clone",
    r".*/uv run pytest": "this is it; .ci/run runs it from a fresh clone",
    r"uv run (mypy|ruff .*)": "checks of this repository, which .ci/run runs",
    r"uv run poe (check|test)": "tests/test_services.py runs both in every service",
}
SERVES = re.compile(r"uv run poe (dev|serve)")
REWRITTEN = [
    # Nobody is there to answer.
    (r"(?s)\bcopier (copy|update)(?!.*--defaults)", r"copier \1 --defaults"),
    (r"\bcookiecutter (?!.*--no-input)(.*)", r"cookiecutter \1 --no-input"),
    # tests/test_services.py runs all of them in every service.
    (r"uv run poe test\)$", "uv run poe test tests/test_health.py)"),
    # The pages say to commit first.
    (r"^uvx copier update", 'git add --all && git commit -qm "Work" --allow-empty && \\g<0>'),
]
# Pages that speak of a service which runs already.
SERVED = {"docs/chat-api.md", "docs/dashboards.md", "docs/docker.md"}
# Pages that change the project: test_howto.py follows each, in a project of its own.
HOWTO = {
    f"docs/{name}.md"
    for name in (
        *("anthropic", "classify", "endpoints", "extract", "openai", "prompts", "providers"),
        *("answers", "database", "documents", "parser", "retrieval", "splitter"),
        *("agent", "tools"),
        *("evals", "judge"),
    )
}

PRELUDE = """\
set -eu
service=
stop() {
  # uv passes it on: to signal all of the group would do so twice.
  if [ -n "$service" ]; then kill -TERM "$service"; wait "$service" || true; fi
  service=
}
trap stop EXIT
start() {
  stop
  "$@" >"$SERVICE_LOG" 2>&1 &
  service=$!
  for _ in $(seq 300); do
    if curl "http://localhost:$SERVER__PORT/health/live" >/dev/null 2>&1; then return; fi
    kill -0 "$service" || break
    sleep 0.2
  done
  cat "$SERVICE_LOG"
  return 1
}
"""


class Page(NamedTuple):
    """One page of a tree of files."""

    name: str
    text: str

    @property
    def blocks(self) -> list[tuple[str, str]]:
        return [(found[2], textwrap.dedent(found[3])) for found in FENCE.finditer(self.text)]

    @property
    def prose(self) -> str:
        return FENCE.sub("", self.text)

    @property
    def spans(self) -> list[str]:
        """What stands in backticks."""
        return re.findall(r"`([^`\n]+)`", self.prose)

    @property
    def commands(self) -> list[str]:
        """The commands of its blocks, each whole even where it has several lines."""
        found: list[str] = []
        for language, block in self.blocks:
            if language == "sh":
                found += re.findall(r"(?:.*(?:\\|&&|\|)\n)*.+", re.sub(r"(?m)^#.*\n", "", block))
        return found


def pages(root: Path) -> list[Page]:
    found = [*root.glob("*.md"), *root.glob("docs/**/*.md")]
    return [Page(p.relative_to(root).as_posix(), p.read_text("utf-8")) for p in sorted(found)]


OURS = pages(ROOT)
EVERY_PROJECT = pytest.mark.parametrize("answers", VALID, ids=label)


# --- Words --------------------------------------------------------------------------------------


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub and GitLab make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def dead_links(root: Path) -> Iterator[str]:
    for page in pages(root):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.prose):
            path, _, anchor = target.partition("#")
            if re.match(r"\w+:", target):
                continue
            file = (root / page.name).parent / path if path else root / page.name
            if not file.exists():
                yield f"{page.name}: {target}"
            elif anchor:
                headings = re.findall(r"^#+ (.+)$", FENCE.sub("", file.read_text("utf-8")), re.M)
                if anchor not in map(slug, headings):
                    yield f"{page.name}: {target}"


# Paths that a page names although they are not there, because somebody is told to make them.
MADE = re.compile(
    r"\.env|.*\.env|\.data/.*|uv\.lock|\.rej|(.*/)?2\.md|src/app/orders/.*|evals/(calibrations|recordings)/?|routes\.py|.*NAME.*|.*\.md\.jinja"
)
SUFFIX = re.compile(
    r".*\w\.(py|md|toml|ya?ml|json|jinja|lock|svg|example)|.*/|Dockerfile|\.\w+ignore"
)


def unknown_paths(page: Page, names: set[str]) -> list[str]:
    """Return the paths that `page` names and that none of `names` is or ends with."""
    folders = {parent for name in names for parent in folders_of(name)}
    tops = {folder for folder in folders if "/" not in folder}
    named = [
        span
        for span in page.spans
        if re.fullmatch(r"\.?\w[\w.@-]*(/[\w.@-]+)*/?", span)
        and (SUFFIX.fullmatch(span) or ("/" in span and span.split("/")[0] in tops))
        and not MADE.fullmatch(span)
    ]
    there = names | folders
    return [
        path
        for path in named
        if not any(f"/{name}".endswith(f"/{path.rstrip('/')}") for name in there)
    ]


def folders_of(name: str) -> list[str]:
    return [parent.as_posix() for parent in Path(name).parents if parent.as_posix() != "."]


def tasks_of(project: Path) -> set[str]:
    text = (project / "pyproject.toml").read_text("utf-8")
    return set(tomllib.loads(text)["tool"]["poe"]["tasks"])


def named_tasks(page: Page) -> set[str]:
    code = [*page.spans, *(block for language, block in page.blocks if language == "sh")]
    return {task for text in code for task in re.findall(r"\bpoe ([a-z]+)\b", text)}


def settings_of(project: Path) -> set[str]:
    text = (project / ".env.example").read_text("utf-8")
    return set(re.findall(r"^#? ?([A-Z_]+)=", text, re.M))


def named_settings(page: Page) -> set[str]:
    return set(re.findall(r"\b(?:[A-Z]+__[A-Z_]*[A-Z]|[A-Z]+_API_KEYS?|ENVIRONMENT)\b", page.text))


def wrong_words(page: Page, names: set[str], tasks: set[str], settings: set[str]) -> list[str]:
    return [
        f"{page.name}: {word}"
        for word in (
            *unknown_paths(page, names),
            *(named_tasks(page) - tasks),
            *(named_settings(page) - settings),
        )
    ]


@EVERY_PROJECT
def test_the_pages_of_a_project_name_what_it_has(answers: Answers, render: Render) -> None:
    project = render(answers)
    have = set(tree(project)), tasks_of(project), settings_of(project)
    assert [wrong for page in pages(project) for wrong in wrong_words(page, *have)] == []


@EVERY_PROJECT
def test_the_links_of_a_project_lead_somewhere(answers: Answers, render: Render) -> None:
    assert list(dead_links(render(answers))) == []


@EVERY_PROJECT
def test_a_project_lists_each_of_its_pages(answers: Answers, render: Render) -> None:
    folder = render(answers) / "docs"
    listed = re.findall(r"\]\((\w[\w-]*\.md)\)", (folder / "index.md").read_text("utf-8"))
    assert sorted([*listed, "index.md"]) == sorted(path.name for path in folder.iterdir())


@EVERY_PROJECT
def test_what_agents_are_told_is_short(answers: Answers, render: Render) -> None:
    assert len((render(answers) / "AGENTS.md").read_text("utf-8").splitlines()) <= 60


def test_our_pages_name_what_there_is(render: Render, snapshot: Path) -> None:
    """In this repository, in the template or in what comes of it."""
    projects = [render(answers) for answers in VALID if all(answers.get(n) for n in ("llm", "ci"))]
    names = set(tree(snapshot)).union(*(tree(project) for project in projects))
    tasks = set().union(*map(tasks_of, projects))
    settings = set().union(*map(settings_of, projects))
    wrong = [wrong for page in OURS for wrong in wrong_words(page, names, tasks, settings)]
    assert wrong == []


def test_our_links_lead_somewhere() -> None:
    assert list(dead_links(ROOT)) == []


def test_the_readme_lists_every_question() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    questions = json.loads((ROOT / "cookiecutter.json").read_text("utf-8"))
    listed = re.findall(r"^\| `(\w+)` \| (?:the|one|where|whether|whose|what)", readme, re.M)
    assert listed == [name for name in questions if not name.startswith("_")]


def test_the_page_of_measures_lists_each_metric() -> None:
    names = (ROOT / "template/src/app/monitoring/names.py").read_text("utf-8")
    metrics = re.findall(r'"(.+)"', names.partition("# Metrics\n")[2])
    page = (ROOT / "template/docs/measures.md").read_text("utf-8")
    assert metrics == re.findall(r"^\| `(\S+)`", page, re.M)


def test_every_block_says_what_it_is(render: Render) -> None:
    """So that no command escapes the tests below."""
    shown = [*OURS, *(page for answers in VALID for page in pages(render(answers)))]
    unclear = {(p.name, language) for p in shown for language, _ in p.blocks} - {
        (p.name, language) for p in shown for language in RUN | SHOWN
    }
    assert unclear == set()


# --- Commands -----------------------------------------------------------------------------------


def reason_not_to_run(command: str) -> str | None:
    return next((why for what, why in NOT_RUN.items() if re.fullmatch(what, command)), None)


def test_every_exception_is_needed(render: Render) -> None:
    shown = [*OURS, *pages(render(FULL))]
    written = [command for page in shown for command in page.commands]
    written += [part for command in written for part in re.split(r" &&\s+", command)]
    unused = [what for what in NOT_RUN if not any(re.fullmatch(what, c) for c in written)]
    assert unused == []


def test_ci_runs_the_test_command_of_the_readme() -> None:
    (command,) = (c for c in Page("", (ROOT / "README.md").read_text()).commands if "pytest" in c)
    assert f"({command})\n" in (ROOT / ".ci/run").read_text("utf-8")


def script(page: Page) -> str:
    """Return what does all that `page` says, in one shell."""
    lines = [PRELUDE]
    if page.name in SERVED:
        lines.append("start uv run poe dev")
    for language, block in page.blocks:
        if language == "python":
            lines.append(f"uv run python - <<'END_OF_BLOCK'\n{block}END_OF_BLOCK")
        for command in Page("", f"```{language}\n{block}```").commands:
            if any(reason_not_to_run(part) for part in (command, command.split(" && ")[-1])):
                continue
            for what, instead in REWRITTEN:
                command = re.sub(what, instead, command)
            lines.append(f"start {command}" if SERVES.fullmatch(command) else command)
    return re.sub(r"(localhost|127\.0\.0\.1):8000", r"\1:$SERVER__PORT", "\n".join(lines) + "\n")


class Shell(NamedTuple):
    """Runs pages with what a newcomer has: uv, git, curl and a Python, but not our environment."""

    folder: Path

    def follow(self, page: Page, cwd: Path) -> str:
        tools = self.folder / "tools"
        tools.mkdir(parents=True)
        own = Path(sys.executable).parent
        for name in ("uv", "uvx"):
            (tools / name).symlink_to(shutil.which(name, path=str(own)) or shutil.which(name) or "")
        (self.folder / ".curlrc").write_text("fail\nsilent\nshow-error\n")
        (self.folder / "cookiecutter.yaml").write_text(
            f"cookiecutters_dir: {self.folder}/cookiecutters\nreplay_dir: {self.folder}/replay\n"
        )
        others = [p for p in os.environ.get("PATH", "").split(os.pathsep) if Path(p) != own]
        env = environment(
            PATH=os.pathsep.join([str(tools), *others]),
            CURL_HOME=str(self.folder),
            COOKIECUTTER_CONFIG=str(self.folder / "cookiecutter.yaml"),
            SERVICE_LOG=str(self.folder / "service.log"),
            SERVER__PORT=str(free_port()),
            **{f"GIT_{who}_{what}": "owner@example.org" for who, what in IDENTITY},
        )
        text = script(page).replace("$SERVER__PORT", env["SERVER__PORT"])
        file = self.folder / "page.sh"
        file.write_text(text, "utf-8")
        # A short path: the socket of a Postgres may be below it.
        with tempfile.TemporaryDirectory(prefix="page") as scratch:
            told = run("bash", "-x", file, cwd=cwd, env={**env, "TMPDIR": scratch})
        left = list(cwd.parent.glob("*/.data/*/postmaster.pid"))
        assert not left, f"A Postgres still runs: {left}\n{told}"
        return told


IDENTITY = [(who, what) for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "shell")


@pytest.fixture
def repository(snapshot: Path, tmp_path: Path) -> Path:
    """A clone of the template, in a folder with a space."""
    clone = tmp_path / "our work" / "template"
    shutil.copytree(snapshot, clone)
    commit(clone, "first", tag="v0.1.0")
    return clone


def generate(repository: Path, answers: Answers) -> Path:
    project = repository.parent / "my-ai-service"
    run_copy(str(repository), project, data=answers, defaults=True, quiet=True)
    commit(project, "Generate")
    return project


def with_commands(found: list[Page]) -> list[str]:
    return [page.name for page in found if RUN & {language for language, _ in page.blocks}]


def page(root: Path, name: str) -> Page:
    return Page(name, (root / name).read_text("utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in with_commands(OURS) if n != "docs/update.md"])
def test_our_commands_run(name: str, shell: Shell, repository: Path) -> None:
    told = shell.follow(page(ROOT, name), repository)
    if name == "README.md":
        assert 'Offline model: no AI wrote this answer. You wrote "What can you do?".' in told


@pytest.mark.slow
def test_the_commands_of_an_update_run(shell: Shell, repository: Path) -> None:
    project = generate(repository, FULL)
    edit(repository / "template/src/app/health.py", "\nrouter = ", "\nVERSION = 2\n\nrouter = ")
    commit(repository, "second", tag="v0.2.0")
    told = shell.follow(page(ROOT, "docs/update.md"), project)
    assert "VERSION = 2" in (project / "src/app/health.py").read_text("utf-8")
    assert '"update_available": true' in told
    changed = git(project, "diff", "--stat", ":/Update from the template")
    assert changed == ""  # off and on again


PROJECT_PAGES = ["README.md", "docs/operate.md", "docs/security.md"]


@pytest.mark.slow
@pytest.mark.parametrize("answers", [FULL, MINIMAL], ids=label)
def test_the_commands_of_a_project_run(answers: Answers, tmp_path: Path, repository: Path) -> None:
    project = generate(repository, answers)
    names = [name for name in with_commands(pages(project)) if name not in HOWTO]
    assert set(PROJECT_PAGES) <= set(names)
    told = {
        name: Shell(tmp_path / str(number)).follow(page(project, name), project)
        for number, name in enumerate(names)
    }
    if answers["rag"]:
        assert 'md: "The service takes in text, Markdown, HTML and PDF' in told["README.md"]
    if answers["agent"]:
        assert "calculator succeeded: 144" in told["README.md"]
        assert told["docs/agent-evals.md"].count("Passed: agent.") == 2


ASK_THE_SERVICE = """
import json
from app.main import create_app
from app.setting_names import setting_names
from app.settings import Settings

settings = Settings(_env_file=None)
paths = [*create_app(settings).openapi()["paths"], "/docs", "/", "/web/", "/web/NAME", "/usage"]
print(json.dumps({"paths": paths, "settings": setting_names(Settings)}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("answers", [FULL, MINIMAL], ids=label)
def test_a_project_documents_its_settings_and_its_own_paths(
    answers: Answers, install: Install
) -> None:
    project = install(answers)
    told = json.loads(run(python(project), "-c", ASK_THE_SERVICE, cwd=project, env={}))
    assert sorted(told["settings"]) == sorted(settings_of(project))
    named = {
        path
        for page in pages(project)
        for span in page.spans
        for path in re.findall(r"^(?:(?:GET|POST) )?(/[\w/{}-]*)$", span)
    }
    assert named <= set(told["paths"]) | {"/tmp"}  # noqa: S108 (a folder of the image)
