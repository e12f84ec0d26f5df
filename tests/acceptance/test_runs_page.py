"""The page's tab for the agent: runs as they happen, approvals, those of before, in a browser."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Locator, Page, Request, expect
from playwright.sync_api import Route as WebRoute
from stubs import Reply, Stub

from acceptance.browser import Open, violations
from acceptance.databases import data_folder
from acceptance.services import KEY, Service, asking, running, service_with
from answers import label
from conftest import Install

ANSWERS = service_with("openai", agent=True)
AT = "#/runs"

pytestmark = [pytest.mark.system, pytest.mark.xdist_group(label(ANSWERS))]

TASK = "What is 6*7? Notify the team."
HOSTILE = "<img src=x onerror=window.hacked=1>\u202e<script>window.hacked = 2</script>"
EVENTS = "**/v1/runs/*/events"
LOOK = "**/v1/runs/*"

asks_the_stub = pytest.mark.parametrize("service", ["stub"], indirect=True)


@pytest.fixture(scope="module")
def with_agent(
    install: Install, stub_server: Stub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Service]]:
    """A service that answers offline, and one that asks the stub; each with its own database."""
    project, logs = install(ANSWERS), tmp_path_factory.mktemp("logs")
    stub = asking(stub_server)
    with (
        data_folder() as one,
        data_folder() as other,
        running(project, logs / "offline.log", DATABASE__FOLDER=str(one)) as offline,
        running(project, logs / "stub.log", DATABASE__FOLDER=str(other), **stub) as online,
    ):
        yield {"offline": offline, "stub": online}


@pytest.fixture
def api(service: Service) -> Iterator[httpx2.Client]:
    with service.http() as client:
        yield client


@pytest.fixture
def service(
    request: pytest.FixtureRequest, with_agent: dict[str, Service], stub_server: Stub
) -> Iterator[Service]:
    """One of them, on which no run is open afterwards."""
    service = with_agent[getattr(request, "param", "offline")]
    yield service
    with service.http() as client:
        for run in client.get("/runs").json()["runs"]:
            assert client.post(f"/runs/{run['id']}/cancel").status_code == 200
    assert stub_server.forget() == []


def begin(page: Page, task: str = TASK) -> None:
    page.get_by_label("What is to be done").fill(task)
    page.get_by_role("button", name="Start", exact=True).click()


def run(page: Page) -> Locator:
    """Return what is shown of the last run."""
    return page.locator("#runs-thread .assistant").last


def answer(page: Page) -> Locator:
    return run(page).locator("> .body")


def steps(page: Page) -> Locator:
    return run(page).locator(".steps summary")


def row(page: Page, task: str = TASK) -> Locator:
    return page.get_by_role("list", name="Your runs").get_by_role("button", name=task).first


def card(page: Page) -> Locator:
    return page.get_by_role("group", name="Approval of notify")


def approve(page: Page) -> None:
    card(page).get_by_role("button", name="Approve").click()


def test_a_run_uses_two_tools_and_asks_before_the_second(open_page: Open) -> None:
    page = open_page(at=AT)
    begin(page)
    expect(steps(page)).to_have_text(["calculator 6*7 succeeded"])
    expect(card(page)).to_be_focused()
    expect(card(page)).to_contain_text("This tool is never used without an approval.")
    expect(card(page).get_by_role("definition")).to_have_text("Notify the team")
    expect(card(page)).to_contain_text("Undecided by")
    expect(page.get_by_role("status")).to_contain_text("notify needs your approval.")
    expect(row(page)).to_contain_text("waiting for approval")
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_visible()
    approve(page)
    expect(answer(page)).to_contain_text("Offline model: calculator returned 42; notify returned")
    expect(page.get_by_role("status")).to_contain_text("calculator returned 42")
    expect(card(page)).to_have_count(0)
    expect(steps(page)).to_have_text(
        [
            "calculator 6*7 succeeded",
            "notify Notify the team approved",
            "notify Notify the team succeeded",
        ]
    )
    steps(page).first.click()
    expect(run(page).locator(".steps pre").first).to_have_text("42")
    expect(run(page)).to_contain_text("step 1 · 6 tokens in, 1 out")
    expect(run(page).locator("> .meta")).to_contain_text("assistant · 3 steps · ")
    expect(row(page)).to_contain_text("completed")
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_visible()


def test_a_denied_call_is_not_made_and_the_run_goes_on(open_page: Open) -> None:
    page = open_page(at=AT)
    begin(page, "Notify the team of it.")
    card(page).get_by_role("button", name="Deny").click()
    expect(answer(page)).to_contain_text("A person decided against it.")
    expect(steps(page)).to_have_text(["notify Notify the team of it denied"])
    expect(steps(page)).to_be_focused()


def test_a_run_can_be_cancelled_while_it_waits(open_page: Open) -> None:
    page = open_page(at=AT)
    begin(page)
    expect(card(page)).to_be_visible()
    page.get_by_role("button", name="Cancel", exact=True).dblclick()
    expect(run(page).locator("> .meta")).to_contain_text("cancelled")
    expect(steps(page).last).to_have_text("notify Notify the team cancelled")
    expect(page.get_by_role("status")).to_have_text("Cancelled.")
    expect(row(page)).to_contain_text("cancelled")
    expect(page.get_by_label("What is to be done")).to_be_focused()


@asks_the_stub
def test_a_run_can_be_cancelled_while_it_works(open_page: Open, stub_server: Stub) -> None:
    held = threading.Event()
    stub_server.script(Reply(gate=held))
    page = open_page(at=AT)
    begin(page, "Think long.")
    try:
        expect(run(page)).to_contain_text("running")
        expect(page.locator("#runs-thread")).to_have_attribute("aria-busy", "true")
        page.get_by_role("button", name="Cancel", exact=True).click()
        expect(run(page).locator("> .meta")).to_have_text("assistant · cancelled")
    finally:
        held.set()
    expect(page.locator("#runs-thread")).to_have_attribute("aria-busy", "false")


@asks_the_stub
def test_a_failed_run_says_why_and_can_be_done_again(open_page: Open, stub_server: Stub) -> None:
    stub_server.script(Reply(status=400, code="invalid_prompt"))
    page = open_page(at=AT)
    begin(page, "Try.")
    expect(run(page).locator(".error")).to_contain_text("It went wrong.")
    expect(row(page, "Try.")).to_contain_text("failed")
    stub_server.script(Reply(pieces=("It is **done**.",)))
    page.get_by_role("button", name="Retry").click()
    expect(answer(page)).to_have_text("It is done.")
    expect(answer(page).locator("strong")).to_have_text("done")
    expect(page.locator("#runs-thread .user")).to_have_text(["You:Try.", "You:Try."])


TOLD: list[tuple[str, Any]] = [
    ("run.started", {}),
    ("step", {"step": 1, "part": "", "input_tokens": 1200, "output_tokens": 1}),
    ("text", {"text": "I look it up."}),
    ("tool.call", {"call_id": "a", "tool": "fetch_page", "arguments": {"url": "x", "n": [1]}}),
    ("tool.call", {"call_id": "b", "tool": "fetch_page", "arguments": {}}),
    ("tool.result", {"call_id": "a", "tool": "fetch_page", "outcome": "failed", "result": "Gone."}),
    ("run.failed", {"error": "It would have taken more than a run may take."}),
]


def test_what_went_wrong_on_the_way_is_told_apart(open_page: Open) -> None:
    """In an order that the offline model never gives, so that the events are written down."""
    told: dict[str, Any] = {"id": "1", "agent": "assistant", "status": "failed", "input": "Look."}
    told |= {"approvals": [], "conversation_id": None, "created_at": "2026-11-26T02:00:00Z"}
    events = "".join(
        f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
        for number, (kind, data) in enumerate(TOLD, 1)
    )
    page = open_page(at=AT)
    page.route("**/v1/runs?*", lambda route: route.fulfill(json={"runs": [told]}))
    stream: Any = {"body": events, "content_type": "text/event-stream"}
    page.route(EVENTS, lambda route: route.fulfill(**stream))
    page.reload()
    row(page, "Look.").click()
    expect(steps(page)).to_have_text(["fetch_page x, [1] failed", "fetch_page unfinished"])
    expect(run(page).locator(".steps > li").nth(1)).to_have_text("I look it up.")
    expect(run(page).locator(".error")).to_contain_text("more than a run may take")
    expect(run(page).locator("> .meta")).to_have_text(
        "assistant · failed · 1 step · 1,200 tokens in, 1 out"
    )


def test_a_page_that_is_loaded_again_goes_on_where_a_run_waits(open_page: Open) -> None:
    page = open_page(at=AT)
    begin(page)
    expect(card(page)).to_be_visible()
    page.reload()
    expect(steps(page)).to_have_text(["calculator 6*7 succeeded"])
    approve(page)
    expect(answer(page)).to_contain_text("calculator returned 42")


def test_another_tab_finds_the_run_in_the_list(open_page: Open) -> None:
    page = open_page(at=AT)
    begin(page, "Notify whoever sees it.")
    expect(card(page)).to_be_visible()
    other = open_page(at=AT)
    expect(other.get_by_text("Say what is to be done")).to_be_visible()
    expect(other.locator("#runs summary").first).to_contain_text("waiting")
    row(other, "Notify whoever sees it.").click()
    expect(card(other)).to_be_focused()
    approve(other)
    expect(answer(other)).to_contain_text("notify returned")
    # It hears of what somebody else decided.
    expect(answer(page)).to_contain_text("notify returned")
    expect(steps(page).first).to_contain_text("approved")


def test_a_decision_that_comes_too_late_says_so(open_page: Open, api: httpx2.Client) -> None:
    page = open_page(at=AT, failing=[409])
    decided: list[Request] = []
    page.on("request", lambda asked: decided.append(asked) if "/approvals/" in asked.url else None)
    # Before it decides, the page hears of nothing that comes after the question.
    page.route(EVENTS, only_the_first_time())
    page.route(LOOK, lambda route: route.continue_() if decided else None)
    begin(page, "Notify me.")
    expect(card(page)).to_be_visible()
    waiting = api.get("/runs").json()["runs"][0]
    asked = waiting["approvals"][0]
    decision = {"approved": False, "digest": asked["digest"]}
    path = f"/runs/{waiting['id']}/approvals/{asked['id']}"
    assert api.post(path, json=decision).status_code == 200
    approve(page)
    expect(page.get_by_role("status")).to_have_text("Nobody waits for this any more.")
    expect(steps(page)).to_have_text(["notify Notify me denied"])


def only_the_first_time() -> Any:
    """Return what lets one request through, and leaves later ones without an answer."""
    seen: list[WebRoute] = []

    def handle(route: WebRoute) -> None:
        seen.append(route)
        if len(seen) == 1:
            first = first_events(route)
            route.fulfill(body=first, content_type="text/event-stream")

    return handle


def first_events(route: WebRoute, until: str = "approval.requested") -> str:
    """Return what the service sends up to an event, as if the connection broke off behind it."""
    request = route.request
    found = []
    with httpx2.stream("GET", request.url, headers=request.headers, timeout=30) as response:
        for line in response.iter_lines():
            found.append(line)
            if not line and f"event: {until}" in found[-3:]:
                break
    return "\n".join(found) + "\n"


def test_a_connection_that_breaks_off_is_gone_on_with(open_page: Open) -> None:
    page = open_page(at=AT, failing=["net::ERR_FAILED"])
    asked_behind: list[str | None] = []

    def break_off(route: WebRoute) -> None:
        asked_behind.append(route.request.headers.get("last-event-id"))
        match len(asked_behind):
            case 1 | 3:
                route.abort()
            case 2:
                body = first_events(route, "tool.result")
                # The last of them comes once more behind the break.
                route.fulfill(body=body, content_type="text/event-stream")
            case _:
                route.continue_(headers={**route.request.headers, "last-event-id": "2"})

    page.route(EVENTS, break_off)
    begin(page)
    expect(card(page)).to_be_visible()
    expect(steps(page)).to_have_text(["calculator 6*7 succeeded"])
    assert asked_behind == [None, None, "4", "4"]
    expect(page.get_by_text("Trying again")).to_have_count(0)
    approve(page)
    expect(answer(page)).to_contain_text("calculator returned 42")
    expect(run(page).locator(".step")).to_have_count(3)


def test_a_service_that_stays_away_is_told_and_asked_again(open_page: Open) -> None:
    page = open_page(at=AT, failing=["net::ERR_FAILED"])
    page.clock.install()
    page.route(EVENTS, lambda route: route.abort())
    begin(page, "What is 2+3?")
    expect(page.get_by_text("The service cannot be reached. Trying again…")).to_be_visible()
    for _ in range(32):
        page.clock.run_for(1_000)
        page.wait_for_timeout(30)
    expect(run(page).locator(".error")).to_contain_text("The service cannot be reached.")
    page.unroute(EVENTS)
    page.get_by_role("button", name="Retry").click()
    expect(answer(page)).to_contain_text("calculator returned 5")
    expect(page.locator(".error")).to_have_count(0)


def test_a_run_whose_answer_got_lost_is_not_begun_twice(
    open_page: Open, api: httpx2.Client
) -> None:
    page = open_page(at=AT, failing=["net::ERR_FAILED"])
    before = len(api.get("/runs").json()["runs"])

    def lose(route: WebRoute) -> None:
        route.fetch()
        route.abort()

    page.route("**/v1/runs", lose, times=1)
    begin(page, "What is 3*3?")
    expect(run(page).locator(".error")).to_contain_text("The service cannot be reached.")
    page.get_by_role("button", name="Retry").click()
    expect(answer(page)).to_contain_text("calculator returned 9")
    assert len(api.get("/runs").json()["runs"]) == before + 1


@asks_the_stub
def test_a_conversation_goes_on_until_a_new_one_begins(open_page: Open, stub_server: Stub) -> None:
    def said() -> list[str]:
        messages = stub_server.received[-1].body["messages"]
        return [each["content"] for each in messages if each["role"] in ("user", "assistant")]

    stub_server.script(Reply(pieces=("First.",)), Reply(pieces=("Second.",)), Reply())
    page = open_page(at=AT)
    begin(page, "One?")
    expect(answer(page)).to_have_text("First.")
    begin(page, "Two?")
    expect(answer(page)).to_have_text("Second.")
    assert said() == ["One?", "First.", "Two?"]
    page.reload()
    expect(page.locator("#runs-thread .assistant > .body")).to_have_text(["First.", "Second."])
    page.locator("#runs").get_by_role("button", name="New conversation").click()
    expect(page.locator("#runs-thread li")).to_have_count(0)
    begin(page, "Three?")
    expect(answer(page)).to_have_text("Hello there.")
    assert said() == ["Three?"]
    row(page, "One?").click()
    expect(page.locator("#runs-thread .user").first).to_be_focused()
    expect(page.locator("#runs-thread .assistant > .body")).to_have_text(["First.", "Second."])


def test_a_research_reports(open_page: Open) -> None:
    page = open_page(at=AT)
    page.get_by_role("combobox", name="Agent").select_option("Research")
    begin(page, "How much is 19*3?")
    expect(answer(page)).to_contain_text("calculator returned 57")
    expect(run(page)).to_contain_text("search 1, step 1")
    expect(run(page).locator("> .meta")).to_contain_text("research · 4 steps")


def test_a_refused_run_can_be_begun_again(open_page: Open) -> None:
    page = open_page(at=AT, failing=[429])
    problem = {"status": 429, "code": "too_many_requests", "detail": "20 of your runs are open."}

    refusal: Any = {"status": 429, "json": problem, "headers": {"Retry-After": "5"}}
    page.route("**/v1/runs", lambda route: route.fulfill(**refusal), times=1)
    begin(page, "What is 4+4?")
    expect(run(page).locator(".error")).to_contain_text("20 of your runs are open.")
    expect(run(page).locator(".error")).to_contain_text("wait 5 s")
    page.get_by_role("button", name="Retry").click()
    expect(answer(page)).to_contain_text("calculator returned 8")


@asks_the_stub
def test_what_anybody_wrote_is_never_markup(open_page: Open, stub_server: Stub) -> None:
    arguments = json.dumps({"message": HOSTILE})
    stub_server.script(
        Reply(pieces=("",), tool_call=("notify", arguments)), Reply(pieces=(HOSTILE,))
    )
    page = open_page(at=AT)

    def poison(route: WebRoute) -> None:
        """What the tool returns is the service's, so that a hostile result is put into it."""
        body = first_events(route, "run.completed")
        told = json.dumps("Nothing was sent: this service has no address to send to ")[1:-1]
        route.fulfill(
            body=body.replace(told, json.dumps(HOSTILE)[1:-1]), content_type="text/event-stream"
        )

    begin(page, HOSTILE)
    expect(card(page).get_by_role("definition")).to_have_text(HOSTILE)
    expect(row(page, HOSTILE)).to_be_visible()
    approve(page)
    expect(answer(page)).to_contain_text("<script>window.hacked = 2</script>")
    page.route(EVENTS, poison)
    page.reload()
    steps(page).last.click()
    expect(run(page).locator(".steps pre")).to_contain_text(HOSTILE)
    expect(steps(page).last).to_contain_text(HOSTILE)
    expect(page.locator("main script, main img")).to_have_count(0)
    assert page.evaluate("window.hacked") is None


def test_the_tab_asks_for_a_key_and_goes_on(open_page: Open) -> None:
    page = open_page(with_key=False, at=AT, failing=[401])
    dialog = page.get_by_role("dialog", name="API key")
    # Only what has the focus hears the key.
    dialog.get_by_label("Key", exact=True).press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator("#runs-earlier")).to_contain_text("401 invalid_api_key")
    begin(page, "What is 5*5?")
    dialog.get_by_label("Key", exact=True).fill(KEY)
    page.keyboard.press("Enter")
    expect(answer(page)).to_contain_text("calculator returned 25")
    expect(row(page, "What is 5*5?")).to_contain_text("completed")
    expect(page.locator(".error")).to_have_count(0)


def test_another_key_shows_nothing_of_the_one_before(open_page: Open) -> None:
    page = open_page(at=AT, failing=[401])
    begin(page, "What is 8*8?")
    expect(answer(page)).to_contain_text("calculator returned 64")
    page.get_by_role("button", name="API key").click()
    page.get_by_label("Key", exact=True).fill("not-one-of-them")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("did not accept that key")
    page.keyboard.press("Escape")
    expect(page.locator("#runs-thread li, #runs-list li")).to_have_count(0)


def test_the_keyboard_is_enough(open_page: Open) -> None:
    page = open_page(at=AT)
    field = page.get_by_label("What is to be done")
    field.focus()
    page.keyboard.type("What is 6*7?")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Notify the team.")
    page.keyboard.press("Enter")
    expect(card(page)).to_be_focused()
    # Deny, Approve.
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(card(page).get_by_role("button", name="Approve")).to_be_focused()
    page.keyboard.press("Enter")
    expect(answer(page)).to_contain_text("calculator returned 42")
    # The answer is there a moment before the run has ended, and only then can it be rated.
    expect(run(page).get_by_role("group", name="Rate it")).to_be_visible()
    expect(steps(page).nth(1)).to_be_focused()
    # The call that was approved.
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(run(page).locator(".steps pre").last).to_contain_text("Nothing was sent")
    for name in ("Good answer", "Bad answer"):
        page.keyboard.press("Tab")
        expect(run(page).get_by_role("button", name=name)).to_be_focused()
    page.keyboard.press("Tab")
    expect(field).to_be_focused()
    page.locator("#runs summary").first.focus()
    page.keyboard.press("Tab")
    expect(page.locator("#runs-list button").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#runs-thread .user")).to_be_focused()
    expect(page.locator("#runs-thread .user")).to_contain_text(
        "What is 6*7?\nNotify the team.", use_inner_text=True
    )


def test_whoever_types_is_not_interrupted(open_page: Open) -> None:
    page = open_page(at=AT)
    field = page.get_by_label("What is to be done")
    held: list[WebRoute] = []
    page.route(EVENTS, lambda route: held.append(route))
    # The page asks for the events only after it shows that the run can be cancelled.
    with page.expect_request(EVENTS):
        begin(page)
    field.press_sequentially("And then")
    (events,) = held
    events.continue_()
    expect(card(page)).to_be_visible()
    expect(field).to_be_focused()
    expect(page.get_by_role("status")).to_contain_text("notify needs your approval.")


def fill(page: Page, stub: Stub, held: threading.Event) -> Iterator[str]:
    """Bring the tab into each of its states, one after the other, and name it."""
    expect(page.get_by_text("Say what is to be done")).to_be_visible()
    yield "empty"
    asking = json.dumps({"message": f"{'x' * 300} and more\n\nof it"})
    stub.script(Reply(gate=held), Reply(tool_call=("notify", asking)), Reply(pieces=("z" * 300,)))
    begin(page, "Wait.")
    expect(run(page)).to_contain_text("running")
    yield "running"
    held.set()
    expect(answer(page)).to_have_text("Hello there.")
    begin(page, f"word {'w' * 200}")
    expect(card(page)).to_be_visible()
    page.locator("#runs-earlier").evaluate("details => details.open = true")
    yield "waiting"
    approve(page)
    expect(answer(page)).to_contain_text("zzz")
    for summary in steps(page).all():
        summary.click()
    yield "completed"
    stub.script(Reply(status=400, code="invalid_prompt"))
    begin(page, "Try.")
    expect(run(page).locator(".error")).to_be_visible()
    yield "failed"


@asks_the_stub
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_page(
    open_page: Open, stub_server: Stub, scheme: str, width: int
) -> None:
    size = {"width": width, "height": 800}
    page = open_page(at=AT, color_scheme=scheme, viewport=size, bypass_csp=True)
    held = threading.Event()
    try:
        for state in fill(page, stub_server, held):
            assert (state, violations(page)) == (state, [])
            assert (state, page.evaluate("document.documentElement.scrollWidth")) == (state, width)
    finally:
        held.set()
