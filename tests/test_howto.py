"""A newcomer follows each how-to page to the letter, in a fresh project, and gets what it promises.

The blocks of a page are taken in turn. One whose first line names a file changes that file: with
the lines below it as a whole, `in place of` what it names, or as a diff. The others are run.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import pytest
from stubs import Reply, Stub, running_stub

from answers import FULL, VALID, Answers
from conftest import Render
from projects import commit, edit, request, run, serving, tree
from test_docs import HOWTO, Page, Shell, generate, page, pages

FILE = re.compile(r"# ([\w./]+\.\w+)(?:, in place of (.+))?\n")
BOTH: Answers = {**FULL, "llm_provider": "both"}
ANTHROPIC: Answers = {**FULL, "llm_provider": "anthropic"}


def changes_a_file(block: tuple[str, str]) -> bool:
    return bool(FILE.match(block[1]))


def change(project: Path, language: str, block: str) -> None:
    """Do to a file what a block says."""
    head = FILE.match(block)
    assert head
    file, names, body = project / head[1], head[2], block[head.end() :]
    if language == "diff":
        for hunk in body.split("@@\n")[1:]:
            old, new = (re.sub(rf"(?m)^\{sign}.*\n", "", hunk) for sign in "+-")
            edit(file, *("\n" + re.sub("(?m)^.", "", text) for text in (old, new)))
    elif names:
        replace(file, set(re.split(r", | and ", names)), body)
    else:
        file.write_text(body, "utf-8")


def replace(file: Path, names: set[str], code: str) -> None:
    """Put `code` in place of the definitions of `names`, which follow one another."""
    text = file.read_text("utf-8")
    body = ast.parse(text).body
    nodes = [node for node in body if set(re.split(r"\W+", ast.unparse(node))[:2]) & names]
    assert len(nodes) == len(names)
    lines = text.splitlines(keepends=True)
    lines[nodes[0].lineno - 1 : nodes[-1].end_lineno] = code.splitlines(keepends=True)
    file.write_text("".join(lines), "utf-8")


def follow(page: Page, project: Path, folder: Path) -> str:
    """Do all that `page` says, and return what its commands print."""
    told = ""
    for number, (of_files, blocks) in enumerate(groupby(page.blocks, changes_a_file)):
        if of_files:
            for language, block in blocks:
                change(project, language, block)
        else:
            text = "".join(f"```{language}\n{block}```\n" for language, block in blocks)
            told += Shell(folder / str(number)).follow(Page(page.name, text), project)
    return told


def passes(project: Path, *tests: str) -> None:
    """The project's own checks and tests."""
    run("uv", "run", "poe", "check", cwd=project)
    run("uv", "run", "poe", "test", *tests, cwd=project)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with running_stub() as stub:
        yield stub


# --- What each page promises --------------------------------------------------------------------


def extract(project: Path, told: str, stub: Stub, render: Render) -> None:
    [line] = (project / "results.jsonl").read_text("utf-8").splitlines()
    data = json.loads(line)["data"]
    assert data.keys() == {
        *("sender", "note_number", "delivered_on", "condition", "items", "weight_kg")
    }
    assert '"condition":"short"' in told  # over HTTP
    passes(project, "-k", "structured or text_routes or batch or fill or offline")
    key = "sk-for-the-stub"
    for model in ("openai:m", "openai-chat:m", "anthropic:claude-haiku-5-5"):
        url = {"LLM__MODEL": model, "LLM__BASE_URL": stub.base_url(model)}
        stub.script(Reply((json.dumps(data),)))
        with serving(project, **url, OPENAI_API_KEY=key, ANTHROPIC_API_KEY=key) as address:
            status, answer = request(f"{address}/v1/extract", {"text": "A delivery note."})
        assert (status, answer["outcome"], answer["data"]) == (200, "ok", data)
        sent = json.dumps(stub.received[-1].body)
        assert all(f'"{name}": {{' in sent for name in data)
    paths = [received.path for received in stub.received]
    assert paths == ["/v1/responses", "/v1/chat/completions", "/v1/messages"]


def classify(project: Path, told: str, stub: Stub, render: Render) -> None:
    labels = re.findall(r'"label": "(\w+)"', told)
    assert labels[:2] == ["delivery", "today"]
    passes(project, "-k", "structured or text_routes or batch or web")


def endpoints(project: Path, told: str, stub: Stub, render: Render) -> None:
    assert '"data":{"article":"espresso beans","pieces":12,"wanted_by":null}' in told
    assert " is locked\n" in told
    passes(project, "-k", "orders or architecture or prompts or main or security")


def prompts(project: Path, told: str, stub: Stub, render: Render) -> None:
    listed = re.findall(r"^(chat/\d) +(active)? +(locked|draft)", told, re.M)
    assert listed[:2] == [("chat/1", "", "locked"), ("chat/2", "active", "draft")]
    assert listed[2:] == [("chat/1", "active", "locked"), ("chat/2", "", "locked")]
    passes(project, "tests/llm/test_prompts.py")


def providers(project: Path, told: str, stub: Stub, render: Render) -> None:
    has_become(project, render(BOTH))
    commit(project, "Both")
    one = "copier update --defaults --quiet --vcs-ref=:current: --data llm_provider=anthropic"
    run(*one.split(), cwd=project)
    has_become(project, render(ANTHROPIC))


def has_become(project: Path, other: Path) -> None:
    """But for the settings, and what Copier knows of its template."""
    ours, theirs = tree(project), tree(other)
    for files in (ours, theirs):
        files.pop(".env", None)
        files.pop(".copier-answers.yml")
    assert ours == theirs


def openai(project: Path, told: str, stub: Stub, render: Render) -> None:
    paths = [received.path for received in stub.received]
    assert paths == ["/v1/responses", "/v1/chat/completions"]
    assert stub.received[-1].body["model"] == "llama3.2"
    assert told.count("Hello there.\n") == 2


def anthropic(project: Path, told: str, stub: Stub, render: Render) -> None:
    assert [received.path for received in stub.received] == ["/v1/messages"]
    assert stub.received[0].headers["authorization"] == "Bearer sk-ant-your-key"
    assert "Hello there.\n" in told


Check = Callable[[Path, str, Stub, Render], None]
CHECKS: dict[str, tuple[Check, Answers]] = {
    "docs/anthropic.md": (anthropic, ANTHROPIC),
    "docs/classify.md": (classify, FULL),
    "docs/endpoints.md": (endpoints, FULL),
    "docs/extract.md": (extract, BOTH),
    "docs/openai.md": (openai, FULL),
    "docs/prompts.md": (prompts, FULL),
    "docs/providers.md": (providers, FULL),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(HOWTO))
def test_a_page_that_is_followed_keeps_its_promise(
    name: str, snapshot: Path, tmp_path: Path, stub: Stub, render: Render
) -> None:
    check, answers = CHECKS[name]
    template = shutil.copytree(snapshot, tmp_path / "our work" / "template")
    commit(template, "first", tag="v0.1.0")
    project = generate(template, answers)
    text = page(project, name).text.replace("http://localhost:11434", stub.url)
    with pytest.MonkeyPatch.context() as patch:
        # The only providers there are for the commands of a page.
        patch.setenv("OPENAI_BASE_URL", stub.openai_url)
        patch.setenv("ANTHROPIC_BASE_URL", stub.url)
        told = follow(Page(name, text), project, tmp_path / "shells")
    check(project, told, stub, render)
    assert not stub.replies


def test_every_page_that_changes_a_file_is_followed(render: Render) -> None:
    found = [one for answers in VALID for one in pages(render(answers))]
    assert {one.name for one in found if any(map(changes_a_file, one.blocks))} <= HOWTO
