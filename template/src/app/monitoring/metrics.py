"""What is measured of models, agents, tools and searches; FastAPI measures requests itself."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

from opentelemetry.metrics import Histogram, Meter, Observation
from opentelemetry.util.types import AttributeValue

from app.monitoring import names

Labels = dict[str, AttributeValue]
# Upper bounds, as the conventions give them.
_SECONDS: Final = [0.01 * 2**n for n in range(14)]
_FIRST_SECONDS: Final = [
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1),
    *(0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
]
_TOKENS: Final = [4**n for n in range(14)]
_SCORES: Final = [n / 10 for n in range(11)]


class Metrics:
    """The instruments. No label is of a person, or of anything else with many values."""

    def __init__(self, meter: Meter) -> None:
        def histogram(name: str, unit: str, bounds: list[float], about: str) -> Histogram:
            return meter.create_histogram(
                name, unit, about, explicit_bucket_boundaries_advisory=bounds
            )

        calls = histogram(names.OPERATION_DURATION, "s", _SECONDS, "Time of a call, tries apart")
        agents = histogram(names.AGENT_DURATION, "s", _SECONDS, "Time of an agent or a workflow")
        self.durations = {
            names.CHAT: calls,
            names.EMBEDDINGS: calls,
            names.RETRIEVAL: calls,
            names.INVOKE_AGENT: agents,
            names.INVOKE_WORKFLOW: agents,
            names.EXECUTE_TOOL: histogram(names.TOOL_DURATION, "s", _SECONDS, "Time of a tool"),
        }
        self.first_chunk = histogram(
            names.TIME_TO_FIRST_CHUNK, "s", _FIRST_SECONDS, "Time until a stream's first chunk"
        )
        self.scores = histogram(
            names.EVALUATION_SCORE, "1", _SCORES, "What a check says of answers: 1 good, 0 bad"
        )
        self.feedback = meter.create_counter(names.FEEDBACK, "{rating}", "What callers say")
        self._tokens = histogram(names.USAGE, "{token}", _TOKENS, "Tokens of a call")
        # Parts of those: to add them would count them twice.
        self._parts = {
            names.CACHE_READ_TOKENS: meter.create_counter(
                names.CACHE_READ_USAGE, "{token}", "Input tokens that a cache had"
            ),
            names.CACHE_WRITE_TOKENS: meter.create_counter(
                names.CACHE_WRITE_USAGE, "{token}", "Input tokens that a cache took in"
            ),
            names.REASONING_TOKENS: meter.create_counter(
                names.REASONING_USAGE, "{token}", "Output tokens that nobody is shown"
            ),
        }

        self._cost = meter.create_counter(names.COST, "USD", "What calls have cost")
        self._unpriced = meter.create_counter(
            names.UNPRICED, "{call}", "Calls whose price nobody knows"
        )
        self.lost = meter.create_counter(names.LEDGER_LOST, "{row}", "Calls not in the ledger")
        self.refused = meter.create_counter(
            names.BUDGET_REFUSED, "{call}", "Calls for which no budget was left"
        )
        self._meter = meter

    def observe_budget(self, share: Callable[[], float]) -> None:
        """Show which part of the budget of all is spent or reserved today."""
        self._meter.create_observable_gauge(
            names.BUDGET_USED,
            [lambda _: [Observation(share())]],
            "1",
            "Part of the budget of all that is spent or reserved today",
        )

    def count_cost(self, usd: Decimal | None, labels: Labels, *, estimated: bool) -> None:
        """Count what a call has cost; None where nobody knows."""
        if usd is None:
            self._unpriced.add(1, labels)
        else:
            self._cost.add(float(usd), {**labels, names.ESTIMATED: str(estimated).lower()})

    def count_tokens(self, used: Mapping[str, int], labels: Labels) -> None:
        """Count tokens, which are given by the names of the attributes that spans have."""
        for name, kind in ((names.INPUT_TOKENS, "input"), (names.OUTPUT_TOKENS, "output")):
            if count := used.get(name):
                self._tokens.record(count, {**labels, names.KIND_OF_TOKENS: kind})
        for name, counter in self._parts.items():
            if count := used.get(name):
                counter.add(count, labels)
