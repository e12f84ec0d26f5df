"""The page at `/usage`, in a real browser, of a service that asks the stub."""

from __future__ import annotations

import json
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

ANSWERS = service_with("openai")
BOBS_KEY = "a-key-that-is-only-bobs"
USAGE = "**/v1/usage?*"
HOSTILE = "<img src=x onerror=window.hacked=1>\u202e<script>window.hacked = 2</script>"

pytestmark = [pytest.mark.system, pytest.mark.xdist_group(label(ANSWERS))]


@pytest.fixture(scope="module")
def service(
    install: Install, stub_server: Stub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service whose ledger has two answers, and one extraction that the provider broke off."""
    log = tmp_path_factory.mktemp("logs") / "usage.log"
    with (
        data_folder() as folder,
        running(
            install(ANSWERS),
            log,
            DATABASE__FOLDER=str(folder),
            SECURITY__API_KEYS=json.dumps({"alice": KEY, "bob": BOBS_KEY}),
            LLM__ATTEMPTS="1",
            **asking(stub_server),
        ) as service,
        service.http() as client,
    ):
        # Its database starts with the first question for what is in it.
        assert client.get("/usage").json()["rows"]
        stub_server.script(Reply(), Reply(), Reply(status=400, code="invalid_request"))
        chat: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}
        for _ in range(2):
            answer = client.post("/chat/completions", json={**chat, "model": service_model(client)})
            assert answer.status_code == 200
        assert client.post("/extract", json={"text": "An invoice"}).status_code >= 400
        assert stub_server.forget() == []
        yield service


def service_model(client: Any) -> str:
    """Return the model that the service asks first."""
    return str(client.get("/models").json()["data"][0]["id"])


def choice(page: Page, name: str) -> Locator:
    return page.locator(f"#choice [name={name}]")


def total(page: Page, name: str) -> str:
    return page.locator("#totals div", has_text=name).locator("dd").inner_text()


def test_it_shows_what_the_ledger_has(open_page: Open) -> None:
    page = open_page(at="usage")
    expect(page.get_by_role("heading", name="Cost a day, by feature")).to_be_visible()
    assert (total(page, "Calls"), total(page, "Input tokens")) == ("3", "14")
    assert total(page, "Output tokens") == "6"
    rows = page.locator("#groups tbody tr")
    expect(rows.get_by_role("rowheader")).to_have_text(["chat", "extract"])
    expect(page.locator("#legend li")).to_have_text(["chat", "extract"])


def test_another_measure_and_another_group_are_drawn(open_page: Open) -> None:
    page = open_page(at="usage")
    choice(page, "measure").select_option("calls")
    choice(page, "group").select_option("prompt")
    expect(page.get_by_role("heading", name="Calls a day, by prompt")).to_be_visible()
    expect(page.locator("#groups tbody th")).to_have_text(["chat/1", "extract/1"])
    bars = page.locator("#chart rect")
    expect(bars).to_have_count(2)
    assert bars.first.locator("title").text_content().endswith("chat/1: 2")  # type: ignore[union-attr]
    heights = [float(bar.get_attribute("height") or 0) for bar in bars.all()]
    assert heights[0] == pytest.approx(2 * heights[1])
    page.get_by_text("Day by day").click()
    expect(page.locator("#days tbody tr").first).to_contain_text("3")


def test_it_asks_for_a_key_and_keeps_it(open_page: Open) -> None:
    page = open_page(at="usage", with_key=False, failing=[401])
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog).to_contain_text("The service asks for a key.")
    dialog.get_by_label("Key", exact=True).fill("no-key-at-all")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("The service did not accept that key.")
    dialog.get_by_label("Key", exact=True).fill(KEY)
    page.keyboard.press("Enter")
    expect(page.locator("#totals")).to_be_visible()
    page.reload()
    expect(page.locator("#totals")).to_be_visible()


def test_nobody_sees_what_others_used(open_page: Open) -> None:
    page = open_page(at="usage", with_key=False, failing=[401])
    page.get_by_label("Key", exact=True).fill(BOBS_KEY)
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("status")).to_have_text("No model was asked in these days.")
    expect(page.locator("#totals")).to_be_hidden()


def test_who_gives_no_key_is_told_why_nothing_is_shown(open_page: Open) -> None:
    page = open_page(at="usage", with_key=False, failing=[401])
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status")).to_contain_text("API key")


def test_what_goes_wrong_is_said_in_words(open_page: Open) -> None:
    page = open_page(at="usage", failing=[503])
    page.route(
        USAGE,
        lambda route: route.fulfill(status=503, json={"detail": "The database cannot be used."}),
    )
    choice(page, "days").select_option("7")
    expect(page.get_by_role("status")).to_have_text("The database cannot be used.")
    expect(page.locator("#totals")).to_be_hidden()


def many(route: WebRoute) -> None:
    """Answer for seven features, one with a hostile name, unpriced and estimated ones too."""
    answer = route.fetch().json()
    row = answer["rows"][0]
    names = [HOSTILE, *(f"feature {number}" for number in range(6))]
    rows = [
        {**row, "feature": name, "cost_usd": 7.5 - number, "unpriced_calls": number // 6}
        for number, name in enumerate(names)
    ]
    rows[1]["estimated"] = {**row["estimated"], "calls": 12}
    route.fulfill(json={**answer, "rows": rows, "unpriced_calls": 1})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_many_features_are_readable_everywhere(open_page: Open, width: int, scheme: str) -> None:
    page = open_page(
        at="usage",
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        # So that axe can be put into it.
        bypass_csp=True,
    )
    page.route(USAGE, many)
    choice(page, "days").select_option("7")
    expect(page.locator("#legend li")).to_have_count(6)
    expect(page.locator("#legend li").last).to_have_text("2 others")
    expect(page.locator("#legend li").first).to_have_text(HOSTILE)
    expect(page.locator("#unpriced")).to_contain_text("The price of 1 of these calls is not known")
    expect(page.locator("#estimated")).to_contain_text("Of 12 calls nobody reported")
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert violations(page) == []
