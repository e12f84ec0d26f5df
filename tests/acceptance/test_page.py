"""The page at `/`, in a real browser."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import Route as WebRoute
from stubs import Reply, Stub

from acceptance.browser import WITH_KEY, Open, violations
from acceptance.services import KEY, Service, service_with
from answers import label

pytestmark = [pytest.mark.system, pytest.mark.xdist_group(label(service_with("openai")))]

ANSWER = """\
# Indexes

Use `EXPLAIN` **first**, then *think*; read [the manual](https://www.postgresql.org/docs/ "It").

1. equality
   - then the range
2. `snake_case_names` and 2 * 3 * 4

```sql
SELECT 1 <b>;
# no heading
```

| query | before |
| --- | ---: |
| open | 840 ms |

> It costs every write.
"""
HOSTILE = """\
<script>window.hacked = 1</script><img src=x onerror="window.hacked = 2">
<iframe srcdoc="<script>parent.hacked = 3</script>"></iframe>
[run](javascript:window.hacked=4) ![spy](https://example.org/spy.png) <https://example.org>
"""
INVOICE = {"supplier": "Acme", "invoice_number": "7", "issued_on": "2026-11-03", "currency": "EUR"}


@pytest.fixture
def service(services: dict[str, Service], stub_server: Stub) -> Iterator[Service]:
    """A service that asks the stub."""
    yield services["openai-chat"]
    assert stub_server.forget() == []


def send(page: Page, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.get_by_role("button", name="Send").click()


def said(stub: Stub) -> list[str]:
    return [message["content"] for message in stub.received[-1].body["messages"]]


def last(page: Page) -> Any:
    return page.locator(".message").last


def wait_until_answered(page: Page) -> None:
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_an_answer_streams_and_is_shown_as_markdown(open_page: Open, stub_server: Stub) -> None:
    held = threading.Event()
    pieces = tuple(re.findall(r"\s*\S+\s*", ANSWER))
    stub_server.script(Reply(pieces=pieces, gate=held, gate_after=4))
    page = open_page()
    send(page, "How?")
    try:
        expect(last(page)).to_contain_text("Use EXPLAIN")
        expect(last(page)).not_to_contain_text("think")
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        expect(page.get_by_role("status")).to_be_empty()
    finally:
        held.set()
    wait_until_answered(page)
    answer = last(page)
    expect(answer.get_by_role("heading", level=3)).to_have_text("Indexes")
    expect(answer.locator("p > code")).to_have_text("EXPLAIN")
    expect(answer.locator("strong")).to_have_text("first")
    expect(answer.locator("em")).to_have_text("think")
    expect(answer.locator("ol > li")).to_have_count(2)
    expect(answer.locator("ol > li > ul > li")).to_have_text("then the range")
    expect(answer.locator("ol > li").last).to_have_text("snake_case_names and 2 * 3 * 4")
    expect(answer.locator("pre")).to_have_text("SELECT 1 <b>;\n# no heading", use_inner_text=True)
    expect(answer.get_by_role("cell")).to_have_text(["open", "840 ms"])
    expect(answer.locator("blockquote")).to_have_text("It costs every write.")
    link = answer.get_by_role("link", name="the manual")
    expect(link).to_have_attribute("href", "https://www.postgresql.org/docs/")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    expect(answer).to_contain_text("openai-chat:gpt-6-luna · 7 tokens in, 3 out")
    expect(page.get_by_role("status")).to_contain_text("Use EXPLAIN first")


def test_an_answer_is_rated_and_rated_otherwise(open_page: Open, stub_server: Stub) -> None:
    stub_server.script(Reply(), Reply())
    page = open_page()
    send(page, "Hello")
    wait_until_answered(page)
    thumbs = last(page).get_by_role("group", name="Rate it")
    for name, other in (("Good", "Bad"), ("Bad", "Good")):
        with page.expect_response("**/v1/feedback") as rated:
            thumbs.get_by_role("button", name=f"{name} answer").click()
        assert rated.value.status == 201
        for each, pressed in ((name, "true"), (other, "false")):
            button = thumbs.get_by_role("button", name=f"{each} answer")
            expect(button).to_have_attribute("aria-pressed", pressed)
    expect(page.get_by_role("status")).to_have_text("Thank you.")
    assert violations(page) == []
    # It is drawn again, with what was said of it.
    send(page, "And?")
    wait_until_answered(page)
    bad = page.get_by_role("button", name="Bad answer").first
    expect(bad).to_have_attribute("aria-pressed", "true")


@contextmanager
def half_told(open_page: Open, stub_server: Stub) -> Iterator[Page]:
    """A page in which an answer stands still after two pieces, until the body is left."""
    held = threading.Event()
    stub_server.script(Reply(pieces=("Once", " upon", " never"), gate=held, gate_after=2), Reply())
    page = open_page()
    try:
        send(page, "A story.")
        expect(last(page)).to_contain_text("Once upon")
        yield page
    finally:
        held.set()


def test_stop_keeps_what_has_arrived_and_ends_the_call(open_page: Open, stub_server: Stub) -> None:
    with half_told(open_page, stub_server) as page:
        page.get_by_label("Your message").fill("Go on.")
        page.get_by_role("button", name="Stop").dblclick()
        expect(last(page)).to_contain_text("stopped")
        assert stub_server.received[-1].client_left.wait(timeout=5)
    # The second click fell on Send.
    expect(page.get_by_label("Your message")).to_have_value("Go on.")
    page.get_by_role("button", name="Send").click()
    expect(last(page)).to_contain_text("Hello there.")
    assert said(stub_server)[-3:] == ["A story.", "Once upon", "Go on."]


def test_a_double_click_on_send_stops_nothing(open_page: Open, stub_server: Stub) -> None:
    held = threading.Event()
    stub_server.script(Reply(gate=held, gate_after=1))
    page = open_page()
    page.get_by_label("Your message").fill("Hello")
    try:
        page.get_by_role("button", name="Send").dblclick()
        expect(last(page)).to_contain_text("Hello")
    finally:
        held.set()
    expect(last(page)).to_contain_text("Hello there.")


def test_a_page_that_is_loaded_again_goes_on_with_what_had_arrived(
    open_page: Open, stub_server: Stub
) -> None:
    with half_told(open_page, stub_server) as page:
        page.reload()
    expect(last(page).locator(".meta")).to_contain_text("stopped")
    expect(page.locator(".error")).to_have_count(0)
    send(page, "Go on.")
    expect(last(page)).to_contain_text("Hello there.")
    assert said(stub_server)[-3:] == ["A story.", "Once upon", "Go on."]


@pytest.mark.parametrize(
    ("reply", "status", "told"),
    [
        (Reply(status=429, headers={"Retry-After": "300"}), 429, "wait 300 s"),
        (Reply(status=400, code="invalid_prompt"), 400, "It went wrong."),
        (Reply(cut_after=1), None, "Hello"),
    ],
    ids=["limited", "refused", "broken off"],
)
def test_an_error_is_shown_in_its_place_and_can_be_tried_again(
    open_page: Open, stub_server: Stub, reply: Reply, status: int | None, told: str
) -> None:
    stub_server.script(reply)
    page = open_page(failing=[status] if status else [])
    send(page, "Hello")
    expect(last(page).locator(".error")).to_contain_text("It did not work.")
    expect(last(page)).to_contain_text(told)
    stub_server.script(Reply(pieces=("Better",)))
    page.get_by_role("button", name="Retry").click()
    expect(last(page)).to_contain_text("Better")
    expect(page.locator(".error")).to_have_count(0)
    expect(page.locator(".message")).to_have_count(2)


def test_a_question_that_got_only_an_error_is_not_sent_again(
    open_page: Open, stub_server: Stub
) -> None:
    """As one that is too long, which would fail every later one."""
    stub_server.script(Reply(), Reply(status=400, code="invalid_prompt"), Reply(pieces=("Third.",)))
    page = open_page(failing=[400])
    send(page, "One.")
    expect(last(page)).to_contain_text("Hello there.")
    send(page, "Two.")
    expect(page.locator(".error")).to_be_visible()
    send(page, "Three.")
    expect(last(page)).to_contain_text("Third.")
    assert said(stub_server)[-3:] == ["One.", "Hello there.", "Three."]


def test_a_service_that_is_gone_is_told_apart(open_page: Open) -> None:
    page = open_page(failing=["net::ERR_FAILED"])
    expect(page.get_by_label("Model")).to_have_value("openai-chat:gpt-6-luna")
    page.route("**/v1/**", lambda route: route.abort())
    send(page, "Hello")
    expect(last(page)).to_contain_text("The service cannot be reached.")


def test_a_stream_without_its_end_has_broken_off(open_page: Open) -> None:
    """As when what stands between the service and the browser closes the connection."""
    chunk = {"model": "m", "choices": [{"delta": {"content": "Half an"}, "finish_reason": None}]}
    page = open_page()
    half: Any = {"body": f"data: {json.dumps(chunk)}\n\n", "content_type": "text/event-stream"}
    page.route("**/v1/chat/completions", lambda route: route.fulfill(**half))
    send(page, "Hello")
    expect(last(page).locator(".error")).to_contain_text("The answer broke off.")
    expect(last(page)).to_contain_text("Half an")


def test_a_document_is_extracted(open_page: Open, stub_server: Stub) -> None:
    lines = [{"description": "Beans", "quantity": "2", "unit_price": "4.5", "amount": "9"}]
    found = json.dumps({**INVOICE, "lines": lines, "total": "9.00"})
    stub_server.script(Reply(pieces=(found,)))
    page = open_page(at="#/extract")
    page.get_by_role("button", name="Extract").click()
    panel = page.get_by_role("tabpanel")
    expect(panel.locator(".badge")).to_have_text("ok")
    expect(panel.locator("dl")).to_contain_text("Invoice number")
    expect(panel.get_by_role("columnheader").nth(2)).to_have_text("Unit price")
    expect(panel.get_by_role("cell").first).to_have_text("Beans")
    expect(panel).to_contain_text("7 tokens in, 3 out")
    panel.get_by_text("The whole answer as JSON").click()
    assert json.loads(panel.locator("pre").inner_text())["data"]["supplier"] == "Acme"
    assert "Brennerhof" in json.dumps(stub_server.received[-1].body["messages"])


def test_a_message_is_classified(open_page: Open, stub_server: Stub) -> None:
    found = json.dumps({"rationale": "They want money back.", "label": "billing"})
    stub_server.script(Reply(pieces=(found,)))
    page = open_page(at="#/classify")
    page.get_by_role("button", name="Classify").click()
    panel = page.get_by_role("tabpanel")
    expect(panel.locator(".badge")).to_have_text("ok")
    expect(panel.locator(".label")).to_have_text("billing")
    expect(panel).to_contain_text("They want money back.")


@pytest.mark.parametrize(
    ("replies", "outcome", "detail"),
    [
        ([Reply(pieces=("{",), finish="length")], "truncated", "LLM__MAX_OUTPUT_TOKENS"),
        ([Reply(refusal="I would rather not.")], "refused", "I would rather not."),
        ([Reply(pieces=('{"supplier": 7}',))] * 2, "invalid", "total"),
    ],
    ids=["truncated", "refused", "invalid"],
)
def test_the_other_outcomes_say_why(
    open_page: Open, stub_server: Stub, replies: list[Reply], outcome: str, detail: str
) -> None:
    stub_server.script(*replies)
    page = open_page(at="#/extract")
    page.get_by_role("button", name="Extract").click()
    expect(page.locator(".badge")).to_have_text(outcome)
    expect(page.locator(".outcome")).to_contain_text(detail)
    expect(page.get_by_role("status")).to_contain_text(outcome)


def test_a_text_that_is_refused_can_be_sent_again(open_page: Open, stub_server: Stub) -> None:
    page = open_page(at="#/classify", failing=[429])
    stub_server.script(Reply(status=429, headers={"Retry-After": "300"}))
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".error")).to_contain_text("429 rate_limit_exceeded")
    stub_server.script(Reply(pieces=('{"rationale": "So it is.", "label": "other"}',)))
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".label")).to_have_text("other")


def test_what_the_offline_model_finds_is_shown(browser: Browser, services: Any) -> None:
    """The first minute: no key, no provider, the examples as they are."""
    page = browser.new_page()
    page.add_init_script(WITH_KEY)
    page.goto(services["offline"].address)
    send(page, "What can you do?")
    expect(last(page)).to_contain_text('Offline model: no AI wrote this answer. You wrote "What')
    page.get_by_role("tab", name="Extract").click()
    page.get_by_role("button", name="Extract").click()
    expect(page.locator("#extract .badge")).to_have_text("ok")
    expect(page.locator("#extract dl")).to_contain_text("661.26")
    expect(page.get_by_role("cell").first).to_have_text("Espresso beans, 1 kg")
    expect(page.locator("#extract")).to_contain_text("No AI read this")
    page.get_by_role("tab", name="Classify").click()
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#classify .label")).to_have_text("billing")
    page.close()


def test_the_page_asks_for_a_key_and_uses_it(open_page: Open, stub_server: Stub) -> None:
    page = open_page(with_key=False, failing=[401])
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog).to_contain_text("The service asks for a key.")
    key = dialog.get_by_label("Key", exact=True)
    key.fill("a key no header can hold: \u043a\u043b\u044e\u0447")
    page.keyboard.press("Enter")
    assert key.evaluate("key => key.validity.patternMismatch")
    key.fill(" not-one-of-them ")
    dialog.get_by_role("button", name="Use this key").click()
    expect(dialog).to_contain_text("did not accept that key")
    key.fill(KEY)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.get_by_label("Model")).to_have_value("openai-chat:gpt-6-luna")
    stub_server.script(Reply())
    send(page, "Hello")
    expect(last(page)).to_contain_text("Hello there.")
    # For this tab alone.
    assert KEY not in json.dumps(page.evaluate("[localStorage, document.cookie, location.href]"))
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.get_by_role("dialog")).to_be_visible()


def test_without_a_key_the_page_says_what_it_lacks(open_page: Open) -> None:
    page = open_page(with_key=False, failing=[401])
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#chat")).to_contain_text("401 invalid_api_key")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="API key").click()
    page.get_by_label("Key", exact=True).fill(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Model")).to_have_value("openai-chat:gpt-6-luna")
    expect(page.locator(".error")).to_have_count(0)


def test_a_conversation_lives_as_long_as_the_tab(open_page: Open, stub_server: Stub) -> None:
    stub_server.script(Reply())
    page = open_page()
    send(page, "Remember me.")
    expect(last(page)).to_contain_text("Hello there.")
    page.reload()
    expect(page.locator(".message")).to_have_count(2)
    expect(page.locator(".message").first).to_contain_text("Remember me.")
    expect(last(page)).to_contain_text("7 tokens in")
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".message")).to_have_count(0)
    page.reload()
    expect(page.get_by_text("Ask something")).to_be_visible()
    expect(page.locator(".message")).to_have_count(0)


def test_a_browser_without_room_is_told_of(open_page: Open, stub_server: Stub) -> None:
    stub_server.script(Reply())
    page = open_page(with_key=False, failing=[401])
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('full') } }")
    page.get_by_label("Key", exact=True).fill(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()
    send(page, "Remember me.")
    expect(last(page)).to_contain_text("Hello there.")
    expect(page.get_by_text("no room to keep this conversation")).to_be_visible()


def test_a_new_conversation_ends_the_answer_that_is_on_its_way(
    open_page: Open, stub_server: Stub
) -> None:
    held = threading.Event()
    stub_server.script(Reply(gate=held, gate_after=1), Reply(pieces=("Second.",)))
    page = open_page()
    try:
        send(page, "First?")
        expect(last(page)).to_contain_text("Hello")
        page.get_by_role("button", name="New conversation").click()
        send(page, "Second?")
        expect(last(page)).to_contain_text("Second.")
        assert stub_server.received[0].client_left.wait(timeout=5)
    finally:
        held.set()
    wait_until_answered(page)
    expect(page.locator(".message")).to_have_count(2)


def test_html_and_scripts_are_text(open_page: Open, stub_server: Stub) -> None:
    stub_server.script(Reply(pieces=(HOSTILE,)))
    page = open_page()
    send(page, HOSTILE)
    wait_until_answered(page)
    for message in page.locator(".message .body").all():
        expect(message).to_contain_text('<img src=x onerror="window.hacked = 2">')
        expect(message).to_contain_text("<script>window.hacked = 1</script>")
        expect(message.locator("script, img, iframe")).to_have_count(0)
    expect(last(page)).to_contain_text("[run](javascript:window.hacked=4)")
    addresses = [link.get_attribute("href") for link in last(page).get_by_role("link").all()]
    assert all(address and address.startswith("https://") for address in addresses)
    assert page.evaluate("window.hacked") is None


def test_no_text_is_too_much_for_the_markdown(open_page: Open, stub_server: Stub) -> None:
    """Nested as deep as can be, never closed, and repeated: each is drawn in a moment."""
    wide = " " * 300_000
    pieces = [">" * 5_000, "- " * 5_000, "**a" * 5_000, "[" * 10_000, "_a*" * 5_000, "a\n" * 70_000]
    pieces += ["x " + "`" * 200_000, f"a|b\n-{wide}x|", f"#{wide}x\u2028x", f"-{wide}x\u2028x"]
    stub_server.script(Reply(pieces=("\n\n".join(pieces),)))
    page = open_page()
    send(page, "Go.")
    wait_until_answered(page)
    page.reload()
    expect(last(page)).to_contain_text("[[[[")


def test_the_keyboard_is_enough(open_page: Open, stub_server: Stub) -> None:
    stub_server.script(Reply())
    page = open_page()
    expect(page.get_by_label("Model")).to_have_value("openai-chat:gpt-6-luna")
    page.keyboard.press("Tab")
    tab = page.get_by_role("tab", selected=True)
    expect(tab).to_be_focused()
    for key, name in [("ArrowRight", "Extract"), ("End", "Classify"), ("ArrowRight", "Chat")]:
        page.keyboard.press(key)
        expect(tab).to_have_text(name)
        expect(tab).to_be_focused()
        expect(page.get_by_role("tabpanel", name=name)).to_be_visible()
        expect(page.get_by_role("tabpanel")).to_have_count(1)
    # API key, model, new conversation, message.
    for _ in range(4):
        page.keyboard.press("Tab")
    message = page.get_by_label("Your message")
    expect(message).to_be_focused()
    page.keyboard.type("One")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    expect(page.locator(".message").first).to_contain_text("One\ntwo", use_inner_text=True)
    expect(last(page)).to_contain_text("Hello there.")
    expect(message).to_be_focused()


ORDERS = """\
import { call } from "./api.js";
import { errorBox } from "./page.js";

const panel = document.getElementById("orders");
call("/orders").catch((error) => panel.append(errorBox(error)));
"""


def test_a_section_and_a_script_are_a_tab(open_page: Open, service: Service) -> None:
    """As docs/page.md of a service says."""
    added = {
        "<!-- Your own sections below. -->": '<section id="orders" data-tab="Orders"></section>',
        "<!-- Your own scripts below. -->": '<script type="module" src="/web/orders.js"></script>',
    }
    page = open_page(failing=[404])

    def with_orders(route: WebRoute) -> None:
        answer = route.fetch()
        text = answer.text()
        for anchor, line in added.items():
            assert anchor in text
            text = text.replace(anchor, line)
        route.fulfill(response=answer, body=text)

    page.route(f"{service.address}/", with_orders)
    script: Any = {"body": ORDERS, "content_type": "text/javascript"}
    page.route("**/web/orders.js", lambda route: route.fulfill(**script))
    page.reload()
    page.get_by_role("tab", name="Classify").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tabpanel", name="Orders")).to_contain_text("404 not_found")


def fill_every_tab(page: Page, stub: Stub) -> Iterator[str]:
    """Bring the page into each of its states, one after the other, and name it."""
    wide = "| " + " | ".join("a column that takes some room" for _ in range(9)) + " |"
    table = f"\n\n{wide}\n{wide.replace('a column that takes some room', '---')}\n{wide}\n"
    long = f"```\n{'x' * 300}\n```\n\n{'y' * 300} `{'z' * 200}`"
    stub.script(Reply(pieces=(ANSWER, table, long)))
    send(page, "word " * 30 + "w" * 200)
    wait_until_answered(page)
    yield "chat"
    stub.script(Reply(status=429, headers={"Retry-After": "300"}))
    send(page, "Again.")
    expect(page.locator(".error")).to_be_visible()
    yield "error"
    lines = [{"description": "B" * 60, "quantity": "2", "unit_price": "4.5", "amount": "9"}] * 2
    stub.script(Reply(pieces=(json.dumps({**INVOICE, "lines": lines, "total": "9.00"}),)))
    page.get_by_role("tab", name="Extract").click()
    page.get_by_role("button", name="Extract").click()
    expect(page.locator("#extract .badge")).to_be_visible()
    page.get_by_text("The whole answer as JSON").click()
    yield "extract"
    stub.script(Reply(refusal="I would rather not."))
    page.get_by_role("tab", name="Classify").click()
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#classify .badge")).to_be_visible()
    yield "classify"
    page.get_by_role("button", name="API key").click()
    yield "dialog"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_axe_finds_nothing(open_page: Open, stub_server: Stub, scheme: str, width: int) -> None:
    size = {"width": width, "height": 800}
    page = open_page(color_scheme=scheme, viewport=size, bypass_csp=True, failing=[429])
    for state in fill_every_tab(page, stub_server):
        assert (state, violations(page)) == (state, [])


def test_a_phone_never_scrolls_sideways(open_page: Open, stub_server: Stub) -> None:
    page = open_page(viewport={"width": 360, "height": 640}, failing=[429])
    for state in fill_every_tab(page, stub_server):
        assert (state, page.evaluate("document.documentElement.scrollWidth")) == (state, 360)
