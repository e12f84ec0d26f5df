"""Meter a call of a provider: hold it to the budgets, and put what it took into the ledger.

Where the provider did not say what it took, because the call was aborted or cut, that is estimated
from what was sent and received, and marked so.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from httpx2 import ConnectError, ConnectTimeout
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelConnectionError,
    ModelRequestTimeout,
    UserError,
)
from pydantic_ai.usage import RequestUsage
from structlog.contextvars import get_contextvars

from app.monitoring import names
from app.monitoring.budgets import Budgets
from app.monitoring.ledger import Call, Ledger
from app.monitoring.metrics import Labels, Metrics
from app.monitoring.prices import Estimates, Prices
from app.monitoring.traces import CANCELLED, purpose

# What is reserved for input, times what is estimated: that may be too little.
_CAUTION: Final = 2
# No call takes more.
_MOST_TOKENS: Final = 1_000_000_000


@dataclass(frozen=True)
class Asked:
    """What is sent, to whom. `most_tokens` is the longest answer that may come."""

    provider: str
    model: str
    url: str | None
    size_bytes: int
    most_tokens: int = 0


@dataclass
class Answered:
    """What came of it. `is_whole` where the provider said why the answer ends."""

    usage: RequestUsage = field(default_factory=RequestUsage)
    model: str | None = None
    details: dict[str, Any] | None = None
    size_bytes: int = 0
    is_whole: bool = False
    outcome: str = "incomplete"
    # The provider did nothing, for which it could take money.
    was_refused: bool = False


class Metering:
    """Meters calls, for whoever makes them."""

    def __init__(self, ledger: Ledger, budgets: Budgets, prices: Prices, metrics: Metrics) -> None:
        self._ledger = ledger
        self._budgets = budgets
        self._prices = prices
        self._metrics = metrics
        self._estimates = Estimates()

    def require_price(self, provider: str, model: str, url: str | None) -> None:
        """Raise `ValueError` for a model that no budget can hold."""
        usage = RequestUsage(input_tokens=1, output_tokens=1)
        if self._budgets.are_set and self._prices.usd(usage, provider, model, url) is None:
            raise ValueError(
                f"A budget cannot hold {model!r}, whose price nobody knows."
                " Give it one in MONITORING__PRICES_USD_PER_MILLION, choose another model, or leave"
                " the budgets out."
            )

    @asynccontextmanager
    async def call(self, asked: Asked) -> AsyncGenerator[Answered]:
        """Make a call in the body, which says what came of it.

        Raises `OverBudget` before, where a budget has not as much left as it may cost.
        """
        labels = purpose()
        begun = self._begin(asked, labels)
        await self._budgets.reserve(begun, self._most(asked, begun.input_tokens))
        self._ledger.put(begun)
        answered, started = Answered(), time.perf_counter()
        try:
            yield answered
        except BaseException as error:
            left = isinstance(error, asyncio.CancelledError | GeneratorExit)
            answered.outcome = CANCELLED if left else type(error).__name__
            answered.was_refused = not answered.size_bytes and _was_refused(error)
            raise
        finally:
            took = self._settle(begun, asked, answered)
            self._budgets.settle(took)
            self._ledger.put(replace(took, seconds=round(time.perf_counter() - started, 3)))
            labels |= {names.PROVIDER: asked.provider, names.REQUEST_MODEL: asked.model}
            labels[names.RESPONSE_MODEL] = took.answered_by or asked.model
            self._metrics.count_cost(took.cost_usd, labels, estimated=took.estimated)

    def _begin(self, asked: Asked, labels: Labels) -> Call:
        bound = get_contextvars()
        about = {name: str(value) for name, value in labels.items()}
        tokens = self._estimates.tokens(asked.model, "input", asked.size_bytes)
        return Call(
            id=uuid.uuid4(),
            response_id=bound.get("response_id"),
            principal=bound.get("principal"),
            feature=about.get(names.FEATURE),
            prompt=about.get(names.PROMPT),
            prompt_version=about.get(names.PROMPT_VERSION),
            provider=asked.provider,
            model=asked.model,
            started_at=datetime.now(UTC),
            input_tokens=tokens,
            cost_usd=self._price(asked, RequestUsage(input_tokens=tokens)),
            price_list=self._prices.list_of(asked.model),
        )

    def _most(self, asked: Asked, input_tokens: int) -> Decimal:
        tokens = _CAUTION * input_tokens
        usage = RequestUsage(input_tokens=tokens, output_tokens=asked.most_tokens)
        return self._price(asked, usage) or Decimal(0)

    def _settle(self, begun: Call, asked: Asked, answered: Answered) -> Call:
        reported = _sound(answered.usage)
        estimated = not (answered.is_whole and (reported.input_tokens or reported.output_tokens))
        if answered.was_refused:
            usage, estimated = RequestUsage(), False
        elif estimated:
            said = self._estimates.tokens(asked.model, "output", answered.size_bytes)
            usage = RequestUsage(
                input_tokens=reported.input_tokens or begun.input_tokens,
                output_tokens=max(reported.output_tokens, said),
                cache_read_tokens=reported.cache_read_tokens,
                cache_write_tokens=reported.cache_write_tokens,
            )
        else:
            usage = reported
            for kind, size, tokens in (
                ("input", asked.size_bytes, usage.input_tokens),
                ("output", answered.size_bytes, usage.output_tokens),
            ):
                self._estimates.learn(asked.model, kind, size, tokens)
        return replace(
            begun,
            answered_by=answered.model and _storable(answered.model),
            outcome=answered.outcome,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.output_reasoning_tokens,
            estimated=estimated,
            cost_usd=self._price(asked, usage, answered),
        )

    def _price(
        self, asked: Asked, usage: RequestUsage, answered: Answered | None = None
    ) -> Decimal | None:
        more = (answered.model, answered.details) if answered else ()
        return self._prices.usd(usage, asked.provider, asked.model, asked.url, *more)


def _sound(reported: RequestUsage) -> RequestUsage:
    """Return what was reported as it can be counted; nothing where it cannot be."""
    counts = [value for value in vars(reported).values() if isinstance(value, int | float)]
    if not all(0 <= count <= _MOST_TOKENS for count in counts):
        return RequestUsage()
    cached = reported.cache_read_tokens + reported.cache_write_tokens
    if cached <= reported.input_tokens:
        return reported
    # Some count what was cached beside the input, and not as a part of it.
    return replace(reported, input_tokens=reported.input_tokens + cached)


def _was_refused(error: BaseException | None) -> bool:
    """Say whether the provider said no, or was never reached."""
    unsure = ModelConnectionError | ModelRequestTimeout
    if isinstance(error, UserError | ModelAPIError) and not isinstance(error, unsure):
        return True
    while error and not isinstance(error, ConnectError | ConnectTimeout):
        error = error.__cause__
    return error is not None


def _storable(name: str) -> str:
    return name.encode(errors="replace").decode().replace("\0", "?")
