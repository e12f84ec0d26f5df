"""What is asked of models is in the ledger: each try, to the token where that was reported."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from importlib import import_module
from typing import Any

import anyio
import pytest
from fastapi.testclient import TestClient
from pydantic_ai.exceptions import ModelRateLimitError, UnexpectedModelBehavior
from pydantic_ai.messages import ImageUrl, ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage
from structlog.contextvars import bound_contextvars

from app.llm.failures import ProviderFailed
from app.llm.models import Models
from app.llm.settings import provider_of
from app.monitoring import names
from app.monitoring.llm_settings import LLMMonitoringSettings
from app.monitoring.metered import MeteredModel, be_thrifty
from app.monitoring.traces import Monitor

from app.errors import TooManyRequests
from app.main import create_app
from tests.conftest import KEY
from tests.llm.conftest import Scripted, scripted, stub, stub_server
from tests.llm.scripted import Turn
from tests.llm.serving import every_model, stub_settings
from tests.llm.stubs import Reply, Stub
from tests.monitoring.conftest import Noted
from tests.monitoring.ledgers import Books, Fragile, books, call, database
from tests.monitoring.test_models import ASKED, PROMPT, chat_with, read
from tests.monitoring.watching import monitor

__all__ = ["books", "database", "monitor", "scripted", "stub", "stub_server"]
pytestmark = pytest.mark.anyio

HI: Any = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def metered(books: Books) -> Callable[[Model], Model]:
    return lambda model: MeteredModel(model, books.metering, 4_096)


async def test_a_row_says_for_whom_and_what_for(
    books: Books, metered: Callable[[Model], Model], scripted: Scripted
) -> None:
    with bound_contextvars(principal="alice", response_id="chatcmpl-1"):
        await chat_with(metered(scripted("It has."))).reply(ASKED)
    (row,) = await books.rows()
    assert (row.principal, row.response_id) == ("alice", "chatcmpl-1")
    assert (row.feature, row.prompt, row.prompt_version) == ("chat", "chat", PROMPT.version)
    assert (row.provider, row.model, row.answered_by) == ("test", "scripted", "scripted")
    assert (row.input_tokens, row.output_tokens, row.outcome) == (7, 3, "stop")
    assert row.seconds >= 0
    assert not row.estimated


async def test_cached_and_reasoning_tokens_are_kept(
    books: Books, metered: Callable[[Model], Model], noted: Noted
) -> None:
    usage = RequestUsage(
        input_tokens=1_000_000,
        cache_read_tokens=600_000,
        cache_write_tokens=20,
        output_tokens=50,
        output_reasoning_tokens=30,
    )

    def answer(messages: Any, info: AgentInfo) -> ModelResponse:
        ended = {"finish_reason": "stop"}
        return ModelResponse([TextPart("It has.")], usage=usage, provider_details=ended)

    class Priced(FunctionModel):
        system = "openai"

    await chat_with(metered(Priced(answer, model_name="gpt-5"))).reply(ASKED)
    (row,) = await books.rows()
    assert (row.cache_read_tokens, row.cache_write_tokens) == (600_000, 20)
    assert row.reasoning_tokens == 30
    # Cached tokens cost less.
    assert Decimal(0) < row.cost_usd < Decimal("1.25")
    assert row.price_list.startswith("genai-prices ")
    assert noted.sums(names.COST, names.ESTIMATED) == {"false": float(row.cost_usd)}


async def test_an_unknown_price_is_no_price_and_is_counted(
    books: Books, metered: Callable[[Model], Model], scripted: Scripted, noted: Noted
) -> None:
    await chat_with(metered(scripted("It has."))).reply(ASKED)
    (row,) = await books.rows()
    assert row.cost_usd is None
    assert noted.sums(names.UNPRICED, names.REQUEST_MODEL) == {"scripted": 1}
    assert noted.points(names.COST) == []


@pytest.mark.parametrize(
    ("reported", "tokens", "estimated"),
    [
        ({"input_tokens": 100, "cache_read_tokens": 5_000, "output_tokens": 5}, (5_100, 5), False),
        ({"input_tokens": 10**30, "output_tokens": 5}, (1, 1), True),
        ({"input_tokens": -3, "output_tokens": 5}, (1, 1), True),
    ],
    ids=["cached beside", "too much", "less than nothing"],
)
async def test_what_cannot_be_is_not_taken_for_usage(
    books: Books,
    metered: Callable[[Model], Model],
    reported: dict[str, Any],
    tokens: tuple[int, int],
    estimated: bool,
) -> None:
    def answer(messages: Any, info: AgentInfo) -> ModelResponse:
        usage, said = RequestUsage(**reported), {"finish_reason": "stop"}
        return ModelResponse([TextPart("Yes.")], usage=usage, provider_details=said)

    class Priced(FunctionModel):
        system = "openai"

    await chat_with(metered(Priced(answer, model_name="gpt-5"))).reply(ASKED)
    (row,) = await books.rows()
    assert row.estimated == estimated
    assert row.cost_usd > 0
    assert (row.input_tokens >= tokens[0], row.output_tokens) == (True, tokens[1])
    assert row.input_tokens < 10_000


async def test_a_picture_costs_something_and_teaches_nothing(
    books: Books, metered: Callable[[Model], Model], scripted: Scripted
) -> None:
    picture = ModelRequest([UserPromptPart(["What is it?", ImageUrl("https://x.example/a.png")])])
    turn = Turn("A cat.", input_tokens=1_500, output_tokens=3)
    model = metered(scripted(turn, turn, Turn("A dog.", finish=None, input_tokens=0)))
    for _ in range(3):
        await model.request([picture], None, ModelRequestParameters())
    *_, cut = await books.rows()
    assert 1_000 < cut.input_tokens < 2_000


async def test_a_price_of_ones_own_comes_before_the_lists(
    database: Fragile, monitor: Monitor, scripted: Scripted
) -> None:
    prices = {"scripted": {"input": 2, "output": 10}}
    books = Books(database, monitor, prices_usd_per_million=prices, daily_budget_usd=1)
    turn = Turn("It has.", input_tokens=1_000, output_tokens=500)
    async with books.ledger.writing():
        metered = MeteredModel(scripted(turn), books.metering, 1_000)
        await chat_with(metered).reply(ASKED)
        (row,) = await books.rows()
        assert (row.cost_usd, row.price_list) == (Decimal("0.007"), "settings")


async def test_each_try_has_a_row_and_so_has_each_fallback(
    books: Books, metered: Callable[[Model], Model], scripted: Scripted
) -> None:
    limited = ModelRateLimitError("first", "no")
    first = scripted(Turn(error=limited), name="first")
    second = scripted(Turn(error=UnexpectedModelBehavior("garbage")), name="second")
    with pytest.raises(TooManyRequests):
        await chat_with(metered(first), metered(second)).reply(ASKED)
    refused, unread = await books.rows()
    # Whoever says no takes nothing; whoever answers, and cannot be read, may.
    assert (refused.outcome, refused.input_tokens, refused.estimated) == (
        "ModelRateLimitError",
        0,
        False,
    )
    assert refused.cost_usd == 0
    assert (unread.outcome, unread.estimated) == ("UnexpectedModelBehavior", True)
    assert unread.input_tokens > 0


async def test_a_stream_that_is_cut_is_estimated_by_what_came(
    books: Books, metered: Callable[[Model], Model], scripted: Scripted
) -> None:
    words = ["word "] * 100
    model = scripted(Turn(words, input_tokens=50, output_tokens=200), Turn(words[:50], finish=None))
    chat = chat_with(metered(model))
    await read(chat)
    with pytest.raises(ProviderFailed):
        await read(chat)
    whole, cut = await books.rows()
    assert (whole.outcome, whole.estimated) == ("stop", False)
    assert (cut.outcome, cut.estimated) == ("incomplete", True)
    # As the model counted before.
    assert cut.output_tokens == pytest.approx(100, rel=0.35)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_caller_who_leaves_has_a_row(
    books: Books, metered: Callable[[Model], Model], scripted: Scripted, streamed: bool
) -> None:
    model = scripted(Turn(["It has. "] * 20, gate=anyio.Event()))
    chat, reached = chat_with(metered(model)), asyncio.Event()

    async def ask() -> None:
        if not streamed:
            asyncio.get_running_loop().call_soon(reached.set)
            await chat.reply(ASKED)
        async with chat.stream(ASKED) as stream:
            async for _ in stream:
                reached.set()

    asking = asyncio.create_task(ask())
    await reached.wait()
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    (row,) = await books.rows()
    assert (row.outcome, row.estimated) == ("cancelled", True)
    assert row.input_tokens > 0
    assert (row.output_tokens > 0) is streamed


async def test_a_cheaper_model_is_asked_when_a_budget_is_nearly_used_up(
    database: Fragile, monitor: Monitor, scripted: Scripted
) -> None:
    books = Books(database, monitor, daily_budget_usd=10)
    dear = scripted("A dear answer.", Turn(["Dear."]), name="dear")
    cheap = scripted("A cheap answer.", Turn(["Cheap."]), name="cheap")
    models = Models({"dear": dear, "cheap": cheap}, {})
    be_thrifty(
        models, books.budgets, LLMMonitoringSettings(cheaper_model="cheap", cheaper_from=0.5)
    )
    chat = chat_with(models.get())
    for usd in (4, 2):
        await books.budgets.reserve(call(), Decimal(usd))
        await chat.reply(ASKED)
        await read(chat)
    assert models.get("cheap") is cheap


async def test_a_cheaper_model_is_one_of_the_models(books: Books, scripted: Scripted) -> None:
    with pytest.raises(ValueError, match="MONITORING__CHEAPER_MODEL is none of the models here"):
        be_thrifty(
            Models({"dear": scripted(name="dear")}, {}),
            books.budgets,
            LLMMonitoringSettings(cheaper_model="cheap"),
        )


Serve = Callable[..., TestClient]


@pytest.fixture
def serve(fresh_database: str, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Runs the service with a model of the stub, and gives a client that is Alice."""
    with ExitStack() as stack:

        def start(model: str, **variables: str) -> TestClient:
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            app = create_app(stub_settings(stub, model))
            client = TestClient(app, headers={"Authorization": f"Bearer {KEY}"})
            return stack.enter_context(client)

        yield start


def usage_of(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/v1/usage").json()["totals"]
    return found


@every_model
def test_every_way_to_be_answered_is_in_the_ledger(serve: Serve, stub: Stub, model: str) -> None:
    stub.script(Reply(), Reply(), Reply(status=500), Reply(), Reply(cut_after=1))
    client = serve(model, LLM__ATTEMPTS="2")
    for stream in (False, True, False, True):
        body = {"messages": HI, "stream": stream}
        assert client.post("/v1/chat/completions", json=body).status_code == 200
    found = usage_of(client)
    assert found["calls"] == 5
    assert found["estimated"]["calls"] == 1
    assert found["input_tokens"] - found["estimated"]["input_tokens"] == 3 * 7
    assert found["output_tokens"] - found["estimated"]["output_tokens"] == 3 * 3


def priced(model: str) -> str:
    """Return the same kind of model, with a name that has a price."""
    default: str = import_module(f"app.llm.providers.{provider_of(model)}").DEFAULT_MODEL
    return f"{model.partition(':')[0]}:{default.partition(':')[2]}"


@every_model
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": HI}),
        ("/v1/chat/completions", {"messages": HI, "stream": True}),
        ("/v1/extract", {"text": "Total: 12.50"}),
    ],
    ids=["chat", "stream", "extract"],
)
def test_beyond_a_budget_no_provider_is_asked(
    serve: Serve, stub: Stub, model: str, path: str, body: dict[str, Any]
) -> None:
    client = serve(priced(model), MONITORING__DAILY_BUDGET_USD="0.000001")
    answer = client.post(path, json=body)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    said = answer.json().get("error") or answer.json()
    assert said["code"] == "budget_exceeded"
    assert "budget" in (said.get("message") or said["detail"])
    assert stub.received == []
    assert usage_of(client)["calls"] == 0
