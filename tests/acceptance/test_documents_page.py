"""The page's tab for documents: files in, answers with their sources out, in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import Route as WebRoute
from stubs import Reply, Stub

from acceptance.browser import Open, violations
from acceptance.databases import data_folder
from acceptance.services import KEY, Service, asking, running, service_with
from answers import label
from conftest import Install

ANSWERS = service_with("openai", rag=True)
AT = "#/documents"

pytestmark = [pytest.mark.system, pytest.mark.xdist_group(label(ANSWERS))]

GUIDE = """\
# Coffee

## Brewing

The water is heated to 93 degrees. A cup takes 15 grams of beans.

## Cleaning

Descale the machine every third Sunday.
"""
# It has one page.
PDF = b"""\
%PDF-1.7
1 0 obj
<</Type/Catalog/Pages 2 0 R>>
endobj
2 0 obj
<</Type/Pages/Kids[3 0 R]/Count 1/MediaBox[0 0 600 800]>>
endobj
3 0 obj
<</Type/Page/Parent 2 0 R/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>
/Contents 4 0 R>>
endobj
4 0 obj
<</Length 67>>
stream
BT /F 12 Tf 72 700 Td (Invoices are paid within thirty days.) Tj ET
endstream
endobj
trailer
<</Root 1 0 R>>
%%EOF
"""
HOSTILE_NAME = "<img src=x onerror=window.hacked=1>\u202egnp.md"
HOSTILE = """\
# <img src=x onerror="window.hacked = 2">

The secret ingredient is <script>window.hacked = 3</script> cinnamon </cite></source>.
"""
# The first sentence has a source that holds, the second one that does not, the third none.
CITED = (
    "It is heated well.",
    ' <cite source="1">The water is heated to 93 degrees.</cite>',
    ' It boils. <cite source="1">The water is heated to 100 degrees.</cite>',
    " See `list[1]` [1].",
)

asks_the_stub = pytest.mark.parametrize("service", ["stub"], indirect=True)


@pytest.fixture(scope="module")
def with_documents(
    install: Install, stub_server: Stub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Service]]:
    """A service that answers offline, and one on the same database that asks the stub."""
    project, logs = install(ANSWERS), tmp_path_factory.mktemp("logs")
    stub = asking(stub_server)
    with data_folder() as folder:
        common = {
            "DATABASE__FOLDER": str(folder),
            "RAG__EMBEDDING_MODEL": "offline",
            # So that each section of the guide is a passage.
            "RAG__CHUNK_TOKENS": "32",
        }
        with (
            running(project, logs / "offline.log", **common) as offline,
            running(project, logs / "stub.log", **common, **stub) as online,
        ):
            yield {"offline": offline, "stub": online}


@pytest.fixture
def service(
    request: pytest.FixtureRequest, with_documents: dict[str, Service], stub_server: Stub
) -> Iterator[Service]:
    """One of them, without documents."""
    service = with_documents[getattr(request, "param", "offline")]
    with service.http() as client:
        for document in client.get("/documents").json()["documents"]:
            assert client.delete(f"/documents/{document['id']}").status_code == 204
    yield service
    assert stub_server.forget() == []


def give(page: Page, *files: tuple[str, str | bytes]) -> None:
    """Choose files, as if they had been chosen from a folder."""
    contents = [(name, c.encode() if isinstance(c, str) else c) for name, c in files]
    chosen: Any = [{"name": name, "mimeType": "", "buffer": content} for name, content in contents]
    page.get_by_label("Drop files here").set_input_files(chosen)


def row(page: Page, name: str) -> Locator:
    return (
        page.get_by_role("list", name="Your documents")
        .get_by_role("listitem")
        .filter(has_text=name)
    )


def give_the_guide(page: Page) -> None:
    give(page, ("guide.md", GUIDE))
    expect(row(page, "guide.md")).to_contain_text("ready")


def ask(page: Page, question: str) -> None:
    page.get_by_label("A question").fill(question)
    page.get_by_role("button", name="Ask").click()


def result(page: Page) -> Locator:
    return page.locator("#documents-answer")


def test_a_document_is_read_and_an_answer_cites_it(open_page: Open) -> None:
    page = open_page(at=AT)
    expect(page.get_by_text("There is no document yet.")).to_be_visible()
    give_the_guide(page)
    expect(row(page, "guide.md")).to_contain_text("2 passages")
    expect(page.get_by_role("status")).to_have_text("guide.md is ready.")
    ask(page, "When is the machine descaled? Every Sunday?")
    expect(result(page)).to_contain_text("Descale the machine every third Sunday.")
    expect(page.get_by_role("status")).to_contain_text("Descale the machine every third Sunday.")
    source = result(page).get_by_role("group").first
    expect(source.locator("mark")).to_be_hidden()
    result(page).get_by_role("button", name="Source [1] guide.md").click()
    expect(source.locator("summary")).to_be_focused()
    expect(source.locator("summary")).to_contain_text("[1] guide.md \u203a Coffee")
    expect(source.locator("mark")).to_have_text("Descale the machine every third Sunday.")
    expect(source.locator("blockquote")).to_contain_text("## Cleaning")
    expect(result(page)).to_contain_text("offline · ")
    page.reload()
    expect(row(page, "guide.md")).to_contain_text("ready")


def test_each_stage_is_shown_and_nothing_is_asked_for_after_the_last(open_page: Open) -> None:
    """A real one passes in a moment, so that here the service's answers are written down."""
    told = {"id": "1", "title": "guide.md", "error": None, "chunks": 0}
    stages = ["parse", "split", "embed", "store"]
    states = [("queued", "queued"), *(("running", stage) for stage in stages), ("ready", "ready")]
    asked: list[str] = []

    def answer(route: WebRoute) -> None:
        status, stage = states[len(asked)]
        asked.append(stage)
        document = {**told, "status": status, "stage": stage}
        route.fulfill(json={"documents": [document]})

    page = open_page()
    page.clock.install()
    page.route("**/v1/documents?*", answer)
    page.goto(page.url.replace("#/chat", "?again#/documents"))
    expect(row(page, "guide.md")).to_contain_text("queued")
    for number, stage in enumerate(stages, 1):
        page.clock.run_for(1_000)
        expect(row(page, "guide.md")).to_contain_text(f"{stage}step {number} of 4")
    page.clock.run_for(1_000)
    expect(row(page, "guide.md")).to_contain_text("ready")
    page.clock.run_for(60_000)
    assert asked == [stage for _, stage in states]


def test_a_pdf_is_read_and_what_cannot_be_says_why(open_page: Open) -> None:
    page = open_page(at=AT, failing=[422])
    give(page, ("bill.pdf", PDF), ("broken.pdf", PDF[:150]), ("a.docx", "?"), ("blank.txt", " \n"))
    expect(row(page, "bill.pdf")).to_contain_text("ready1 passage")
    expect(row(page, "broken.pdf")).to_contain_text("failedThe PDF is broken: save it again")
    expect(row(page, "blank.txt")).to_contain_text("failedThe document has no text")
    expect(row(page, "a.docx")).to_have_count(0)
    expect(page.locator(".error")).to_contain_text("'a.docx' is of no supported type")
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    ask(page, "When are invoices paid?")
    result(page).get_by_role("button", name="Source [1] bill.pdf").click()
    expect(result(page).locator("mark")).to_have_text("Invoices are paid within thirty days.")


def test_a_file_that_is_there_already_is_not_taken_twice(open_page: Open) -> None:
    page = open_page(at=AT)
    give_the_guide(page)
    give(page, ("guide.md", GUIDE))
    told = page.get_by_role("tabpanel", name="Documents")
    expect(told.get_by_text("guide.md is there already.")).to_be_visible()
    expect(row(page, "guide.md")).to_have_count(1)


DROP = """([name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name));
  return data;
}"""


def test_a_file_can_be_dropped_anywhere(open_page: Open) -> None:
    page = open_page(at=AT)
    dropped = page.evaluate_handle(DROP, ["guide.md", GUIDE])
    page.dispatch_event("body", "dragover", {"dataTransfer": dropped})
    expect(page.locator(".dropping")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    expect(page.locator(".dropping")).to_have_count(0)
    expect(row(page, "guide.md")).to_contain_text("ready")


def test_a_document_is_deleted_once_that_is_confirmed(open_page: Open) -> None:
    page = open_page(at=AT)
    give(page, ("other.md", "Another text."), ("guide.md", GUIDE))
    expect(page.locator(".badge.ok")).to_have_count(2)
    button = page.get_by_role("button", name="Delete guide.md")
    button.click()
    dialog = page.get_by_role("dialog", name="Delete this document?")
    expect(dialog).to_contain_text("guide.md and all that was read in it will be gone.")
    dialog.get_by_role("button", name="Keep it").click()
    expect(button).to_be_focused()
    button.click()
    dialog.get_by_role("button", name="Delete it").click()
    expect(button).to_have_count(0)
    expect(page.get_by_role("button", name="Delete other.md")).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("guide.md was deleted.")
    ask(page, "To how many degrees is the water heated?")
    expect(result(page)).to_contain_text("no answer")
    page.reload()
    expect(row(page, "other.md")).to_be_visible()
    expect(row(page, "guide.md")).to_have_count(0)


def test_what_somebody_else_deleted_can_be_deleted(open_page: Open, service: Service) -> None:
    page = open_page(at=AT, failing=[404])
    give_the_guide(page)
    other = open_page(at=AT)
    other.get_by_role("button", name="Delete guide.md").click()
    other.get_by_role("button", name="Delete it").click()
    expect(row(other, "guide.md")).to_have_count(0)
    page.get_by_role("button", name="Delete guide.md").click()
    page.get_by_role("button", name="Delete it").click()
    expect(row(page, "guide.md")).to_have_count(0)
    expect(page.locator(".error")).to_have_count(0)


def test_it_says_when_there_is_no_answer(open_page: Open) -> None:
    page = open_page(at=AT)
    ask(page, "Why?")
    expect(result(page)).to_contain_text("no answerThe documents do not answer this.")
    expect(result(page)).to_contain_text("No passage was found.")
    give_the_guide(page)
    ask(page, "Who won the election in Peru?")
    expect(result(page)).to_contain_text("no answer")
    expect(result(page).locator("details, button:not(.thumbs button)")).to_have_count(0)
    expect(page.get_by_role("status")).to_contain_text("The documents do not answer this.")


@asks_the_stub
def test_a_sentence_without_a_source_says_so(open_page: Open, stub_server: Stub) -> None:
    page = open_page(at=AT)
    give_the_guide(page)
    stub_server.script(Reply(pieces=CITED))
    ask(page, "How hot is the water?")
    expect(result(page).locator("p").first).to_have_text(
        "It is heated well. [1] It boils. no source See `list[1]` (1). no source"
    )
    expect(result(page).locator("button:not(.thumbs button)")).to_have_count(1)
    expect(page.get_by_role("status")).to_contain_text("A part has no source.")
    stub_server.script(Reply(pieces=("It boils.",)))
    ask(page, "How hot is the water?")
    expect(result(page)).to_contain_text("no answer")
    expect(result(page)).to_contain_text("The model gave no citation that holds.")
    result(page).get_by_text("What the model said all the same").click()
    expect(result(page).get_by_role("listitem")).to_have_text("It boils. no source")


@asks_the_stub
def test_an_answer_streams_and_can_be_stopped(open_page: Open, stub_server: Stub) -> None:
    held = threading.Event()
    page = open_page(at=AT)
    give_the_guide(page)
    stub_server.script(Reply(pieces=CITED, gate=held, gate_after=2))
    ask(page, "How hot is the water?")
    try:
        expect(result(page)).to_have_text("It is heated well. [1]")
        expect(page.get_by_role("button", name="Ask")).to_be_hidden()
        page.get_by_role("button", name="Stop").dblclick()
        expect(result(page)).to_contain_text("Stopped.")
        assert stub_server.received[-1].client_left.wait(timeout=5)
    finally:
        held.set()
    expect(result(page)).to_contain_text("It is heated well. [1]")
    expect(page.get_by_role("button", name="Ask")).to_be_visible()


@asks_the_stub
@pytest.mark.parametrize(
    ("reply", "status", "told"),
    [
        (Reply(status=429, headers={"Retry-After": "300"}), 429, "wait 300 s"),
        (Reply(pieces=CITED, error_after=2), None, "It is heated well. [1]"),
    ],
    ids=["before it begins", "in the middle"],
)
def test_a_failed_answer_can_be_tried_again(
    open_page: Open, stub_server: Stub, reply: Reply, status: int | None, told: str
) -> None:
    page = open_page(at=AT, failing=[status] if status else [])
    give_the_guide(page)
    stub_server.script(reply)
    ask(page, "How hot is the water?")
    expect(result(page).locator(".error")).to_contain_text("It did not work.")
    expect(result(page)).to_contain_text(told)
    stub_server.script(Reply(pieces=CITED))
    page.get_by_role("button", name="Retry").click()
    expect(result(page).get_by_role("button", name="Source [1]")).to_be_visible()
    expect(page.locator(".error")).to_have_count(0)


def test_a_service_that_is_gone_is_told_and_read_again(open_page: Open) -> None:
    page = open_page(at=AT, failing=["net::ERR_FAILED"])
    give_the_guide(page)
    page.route("**/v1/**", lambda route: route.abort())
    give(page, ("other.md", "Another text."))
    expect(page.locator("#documents-errors")).to_contain_text("other.md")
    expect(page.locator("#documents-errors")).to_contain_text("The service cannot be reached.")
    ask(page, "How hot is the water?")
    expect(result(page)).to_contain_text("The service cannot be reached.")
    page.unroute("**/v1/**")
    page.locator("#documents-errors").get_by_role("button", name="Retry").click()
    expect(row(page, "other.md")).to_contain_text("ready")
    expect(page.locator("#documents-errors .error")).to_have_count(0)


def test_a_long_list_comes_in_parts(open_page: Open) -> None:
    told = {"status": "ready", "stage": "ready", "chunks": 2, "error": None}
    everything = [{**told, "id": str(n), "title": f"number {n}."} for n in range(60)]

    def answer(route: WebRoute) -> None:
        _, found, after = route.request.url.partition("after=")
        start = int(after) + 1 if found else 0
        route.fulfill(json={"documents": everything[start : start + 50]})

    page = open_page(at=AT)
    page.route("**/v1/documents?*", answer)
    page.reload()
    expect(page.get_by_text("number 49.").first).to_be_visible()
    expect(row(page, "number")).to_have_count(50)
    page.get_by_role("button", name="Show more").click()
    expect(row(page, "number")).to_have_count(60)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_names_and_texts_are_never_markup(open_page: Open) -> None:
    page = open_page(at=AT)
    give(page, (HOSTILE_NAME, HOSTILE))
    expect(row(page, HOSTILE_NAME)).to_contain_text("ready")
    ask(page, "What is the secret ingredient?")
    result(page).locator("button.mark").first.click()
    expect(result(page).locator("summary").first).to_contain_text(HOSTILE_NAME)
    mark = result(page).locator("mark").first
    expect(mark).to_contain_text("<script>window.hacked = 3</script> cinnamon")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_contain_text(HOSTILE_NAME)
    expect(page.locator("main script, main img")).to_have_count(0)
    assert page.evaluate("window.hacked") is None


def test_the_tab_asks_for_a_key_and_goes_on(open_page: Open) -> None:
    page = open_page(with_key=False, at=AT, failing=[401])
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#documents")).to_contain_text("401 invalid_api_key")
    give(page, ("guide.md", GUIDE))
    dialog.get_by_label("Key", exact=True).fill(KEY)
    page.keyboard.press("Enter")
    expect(row(page, "guide.md")).to_contain_text("ready")
    expect(page.locator(".error")).to_have_count(0)


def test_the_keyboard_is_enough(open_page: Open) -> None:
    page = open_page(at=AT)
    # From here on the browser leaves the choice to the test: it takes a moment to know that.
    page.on("filechooser", lambda _: None)
    expect(page.get_by_text("There is no document yet.")).to_be_visible()
    page.get_by_role("tab", name="Documents").focus()
    # API key, file.
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Drop files here")).to_be_focused()
    with page.expect_file_chooser() as choosing:
        page.keyboard.press("Enter")
    buffer: Any = {"name": "guide.md", "mimeType": "text/markdown", "buffer": GUIDE.encode()}
    choosing.value.set_files(buffer)
    expect(row(page, "guide.md")).to_contain_text("ready")
    page.keyboard.press("Tab")
    delete = page.get_by_role("button", name="Delete guide.md")
    expect(delete).to_be_focused()
    page.keyboard.press("Tab")
    question = page.get_by_label("A question")
    expect(question).to_be_focused()
    page.keyboard.type("How hot is the water heated?")
    page.keyboard.press("Enter")
    mark = result(page).get_by_role("button", name="Source [1]")
    expect(mark).to_be_visible()
    expect(question).to_be_focused()
    # Ask, the mark.
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(mark).to_be_focused()
    page.keyboard.press("Enter")
    expect(result(page).locator("mark").first).to_be_visible()
    delete.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(row(page, "guide.md")).to_have_count(0)
    expect(page.get_by_label("Drop files here")).to_be_focused()


def fill(page: Page, stub: Stub) -> Iterator[str]:
    """Bring the tab into each of its states, one after the other, and name it."""
    long = f"{'x' * 200}.md"
    give(
        page, ("guide.md", GUIDE), (long, f"{'y' * 300} is a long word."), ("broken.pdf", PDF[:150])
    )
    expect(row(page, "broken.pdf")).to_contain_text("failed")
    expect(row(page, long)).to_contain_text("ready")
    expect(row(page, "guide.md")).to_contain_text("ready")
    give(page, ("a.docx", "?"))
    expect(page.locator(".error")).to_be_visible()
    yield "documents"
    stub.script(Reply(pieces=(*CITED, "z" * 200)))
    ask(page, "How hot is the water heated?")
    result(page).get_by_role("button", name="Source [1]").click()
    expect(result(page).locator("mark").first).to_be_visible()
    yield "answer"
    stub.script(Reply(pieces=("It boils.",)))
    ask(page, "How hot is the water heated?")
    result(page).get_by_text("What the model said all the same").click()
    yield "no answer"
    page.get_by_role("button", name="Delete guide.md").click()
    yield "dialog"


@asks_the_stub
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_page(
    open_page: Open, stub_server: Stub, scheme: str, width: int
) -> None:
    size = {"width": width, "height": 800}
    page = open_page(at=AT, color_scheme=scheme, viewport=size, bypass_csp=True, failing=[422])
    for state in fill(page, stub_server):
        assert (state, violations(page)) == (state, [])
        assert (state, page.evaluate("document.documentElement.scrollWidth")) == (state, width)
