"""The ledger beside a provider's own account, and budgets that many processes share."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from acceptance.accountant import FIRST, SECOND, Account, running_account
from acceptance.databases import Postgres, data_folder, migrated
from acceptance.services import KEY, running, service_with
from answers import label
from conftest import Install

SERVICE = service_with("openai")
PATH = "/v1/chat/completions"
# How a call ends -> of how many of a hundred.
MIX = {"whole": 35, "stream": 30, "cut": 8, "leave": 8, "hold": 4, "retry": 8, "fallback": 7}
WORDS = "a the of order shipping invoice returned customer warranty Thursday bicycle und Müller, 42"
# USD for a million tokens of FIRST: read, read from a cache, written.
READ, CACHED, WRITTEN = 1.25, 0.125, 10.0

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group(label(SERVICE))]


@pytest.fixture
def account() -> Iterator[Account]:
    with running_account() as account:
        yield account


@pytest.fixture
def database(install: Install) -> Iterator[Postgres]:
    with data_folder() as data, migrated(install(SERVICE), data) as database:
        yield database


def settings(account: Account, database: Postgres, **more: str) -> dict[str, str]:
    return {
        "OPENAI_API_KEY": "sk-for-the-stub",
        "LLM__BASE_URL": account.url,
        "LLM__MODEL": f"openai-chat:{FIRST}",
        "LLM__FALLBACK_MODELS": json.dumps([f"openai-chat:{SECOND}"]),
        "LLM__ATTEMPTS": "4",
        "DATABASE__URL": database.url,
        **more,
    }


def client(*addresses: str) -> list[httpx2.AsyncClient]:
    headers = {"Authorization": f"Bearer {KEY}"}
    return [
        httpx2.AsyncClient(base_url=address, headers=headers, timeout=120) for address in addresses
    ]


async def ask(client: httpx2.AsyncClient, account: Account, key: str, text: str) -> None:
    """Make one call, and leave it where that is how it is to end."""
    how = key.split()[0]
    streamed = how in ("stream", "cut", "leave")
    body = {"messages": [{"role": "user", "content": f"{key}: {text}"}], "stream": streamed}
    if how == "retry":
        # Without a fallback, so that the same model is tried again.
        body["model"] = f"openai-chat:{SECOND}"
    if how == "leave":
        await leave(client, account, key, body)
        return
    asking = asyncio.create_task(client.post(PATH, json=body))
    if how == "hold":
        # It is another thread that says so.
        while key not in account.held:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait({asking})
        return
    answer = await asking
    assert answer.status_code == 200, answer.text
    assert ("[DONE]" in answer.text) is (how == "stream")


async def leave(client: httpx2.AsyncClient, account: Account, key: str, body: Any) -> None:
    """Leave a stream when all that is sent has arrived."""
    said = ""
    async with client.stream("POST", PATH, json=body) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                [choice] = json.loads(line.removeprefix("data: "))["choices"]
                said += choice["delta"].get("content") or ""
                if said == account.sent[key]:
                    return


async def make_calls(address: str, account: Account, count: int) -> None:
    chance = random.Random(7)  # noqa: S311 - the same each time
    ways = chance.choices(list(MIX), list(MIX.values()), k=count)
    given = (
        (f"{how} {number}", " ".join(chance.choices(WORDS.split(), k=chance.randint(5, 120))))
        for number, how in enumerate(ways)
    )
    [asking] = client(address)

    async def work() -> None:
        for key, text in given:
            await ask(asking, account, key, text)

    async with asking:
        await asyncio.gather(*(work() for _ in range(30)))


def test_the_ledger_is_the_providers_own_account(
    install: Install, account: Account, database: Postgres, tmp_path: Path
) -> None:
    log_path = tmp_path / "serve.log"
    with running(install(SERVICE), log_path, **settings(account, database)) as service:
        asyncio.run(make_calls(service.address, account, 2_000))
    # It has stopped, so all is written.
    (found,) = database.rows(_SUMS)
    assert found["calls"] == len(account.entries) > 2_000
    assert found["open"] == 0
    assert (found["input"], found["output"], found["cached"]) == account.sums(reported=True)
    assert found["reported_calls"] == sum(entry.reported for entry in account.entries)
    read, written, _ = account.sums(reported=False)
    assert found["estimated_input"] == pytest.approx(read, rel=0.05)
    assert found["estimated_output"] == pytest.approx(written, rel=0.05)
    assert "is lost" not in log_path.read_text()


async def race(addresses: list[str], calls: int) -> list[httpx2.Response]:
    text = "endless " + "and so on " * 10
    clients = client(*addresses)

    def body(number: int) -> dict[str, Any]:
        said = {"role": "user", "content": f"whole {number}: {text}"}
        return {"messages": [said], "max_tokens": 100}

    async with clients[0], clients[1]:
        return await asyncio.gather(
            *(clients[n % 2].post(PATH, json=body(n)) for n in range(calls))
        )


def test_calls_that_race_in_two_processes_never_spend_more_than_the_budget(
    install: Install, account: Account, database: Postgres, tmp_path: Path
) -> None:
    project, budget = install(SERVICE), 0.05
    given = settings(
        account,
        database,
        MONITORING__DAILY_BUDGET_USD=str(budget),
        SECURITY__MAX_CONCURRENT_REQUESTS="1000",
    )
    with ExitStack() as stack:
        services = [
            stack.enter_context(running(project, tmp_path / f"{n}.log", **given)) for n in range(2)
        ]
        answers = asyncio.run(race([service.address for service in services], 200))
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses.keys() == {200, 429}
    # No call is refused that has room: a hundred tokens cost a thousandth of a dollar.
    assert statuses[200] >= 35
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "budget_exceeded"
    assert int(refused.headers["Retry-After"]) <= 86_400
    read, written, cached = account.sums(reported=True)
    spent = ((read - cached) * READ + cached * CACHED + written * WRITTEN) / 1e6
    assert spent <= budget
    (found,) = database.rows("SELECT usd FROM monitoring.spending WHERE principal = ''")
    assert float(found["usd"]) == pytest.approx(spent)
    assert database.counts("SELECT count(*) FROM monitoring.reservations") == [0]


_SUMS = """
    SELECT count(*) AS calls, count(*) FILTER (WHERE outcome IS NULL) AS open,
        count(*) FILTER (WHERE NOT estimated AND outcome IN ('stop', 'length')) AS reported_calls,
        CAST(sum(input_tokens) FILTER (WHERE NOT estimated) AS int) AS input,
        CAST(sum(output_tokens) FILTER (WHERE NOT estimated) AS int) AS output,
        CAST(sum(cache_read_tokens) FILTER (WHERE NOT estimated) AS int) AS cached,
        CAST(sum(input_tokens) FILTER (WHERE estimated) AS int) AS estimated_input,
        CAST(sum(output_tokens) FILTER (WHERE estimated) AS int) AS estimated_output
    FROM monitoring.calls"""
