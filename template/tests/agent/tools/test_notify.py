"""A message is sent once for each key, to an address that nobody learns."""

import pytest
from pydantic import SecretStr

from app.agent.durable import EFFECT
from app.agent.settings import AgentSettings
from app.agent.tools import notify

from tests.agent.conftest import Office, Scripted, call, calling, waiting
from tests.agent.receiving import SECRET, receiving

pytestmark = pytest.mark.anyio


def office_with(office: Office, scripted: Scripted, url: str, message: str = "It burns.") -> Office:
    settings = AgentSettings(notify_url=SecretStr(url))
    return office.given(
        scripted(calling(call("notify", message=message))),
        [notify.tool(settings)],
        notify_url=SecretStr(url),
    )


async def test_a_message_is_sent_once_it_was_approved(office: Office, scripted: Scripted) -> None:
    async with receiving() as received:
        office = office_with(office, scripted, received.url)
        run = await office.do()
        assert received.bodies == []
        assert [asked.arguments for asked in waiting(run)] == [{"message": "It burns."}]
        await office.decide(run, True)
        run = await office.given(scripted("Sent.")).go_on(run)
        assert (run.output, await office.results(run)) == ("Sent.", ["It was sent."])
    assert received.bodies == [{"text": "It burns."}]
    assert received.keys == [f"run:{run.id}:2:{received.keys[0].rpartition(':')[2]}"]


async def test_no_message_is_sent_that_was_denied(office: Office, scripted: Scripted) -> None:
    async with receiving() as received:
        office = office_with(office, scripted, received.url)
        run = await office.do()
        await office.decide(run, False)
        await office.given(scripted("I did not.")).go_on(run)
    assert received.bodies == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [(500, "HTTPStatusError"), (302, "HTTPStatusError"), (None, "RemoteProtocolError")],
)
async def test_where_it_is_not_sent_nobody_learns_the_address(
    office: Office,
    scripted: Scripted,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    status: int | None,
    kind: str,
) -> None:
    async with receiving(status) as received:
        office = office_with(office, scripted, received.url)
        run = await office.do()
        await office.decide(run, True)
        model = scripted("It failed.")
        run = await office.given(model).go_on(run)
    assert await office.results(run) == [f"It was not sent ({kind})."]
    printed = capsys.readouterr()
    seen = f"{run} {await office.events(run)} {model.calls} {caplog.text} {printed}"
    assert SECRET not in seen
    assert len(received.bodies) == 1


async def test_nothing_listens(office: Office, scripted: Scripted) -> None:
    async with receiving() as received:
        pass
    office = office_with(office, scripted, received.url)
    run = await office.do()
    await office.decide(run, True)
    run = await office.given(scripted("It failed.")).go_on(run)
    assert await office.results(run) == ["It was not sent (ConnectError)."]


async def test_without_an_address_it_says_so(office: Office, scripted: Scripted) -> None:
    office = office.given(
        scripted(calling(call("notify", message="a"))), [notify.tool(office.settings)]
    )
    run = await office.do()
    await office.decide(run, True)
    run = await office.given(scripted("It failed.")).go_on(run)
    assert "AGENT__NOTIFY_URL" in (await office.results(run))[0]


def test_it_has_an_effect_and_is_never_used_without_an_approval() -> None:
    tool = notify.tool(AgentSettings())
    assert (tool.metadata, tool.requires_approval) == ({EFFECT: True}, True)
