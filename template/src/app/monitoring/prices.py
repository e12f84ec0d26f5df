"""What calls cost, by the list of genai-prices, and how many tokens a text has where nobody says.

The list comes with the package and is as old as that; it knows since when each price holds.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any, Final

from pydantic_ai.messages import ModelResponse
from pydantic_ai.usage import RequestUsage

from app.monitoring.ledger_settings import TokenPrices

OFFLINE: Final = "offline"
# A token has about four bytes: worth as much as one short text that a model has read.
_PRIOR: Final = (400, 100)
# Of an answer much may not be shown, such as reasoning.
_MOST_A_BYTE: Final = {"input": 1, "output": 20}


class Prices:
    """The list's, and before those `own` ones, by the name that a model is asked by."""

    def __init__(self, own: Mapping[str, TokenPrices]) -> None:
        self._own = own
        self._list = f"genai-prices {version('genai-prices')}"

    def list_of(self, model: str) -> str:
        """Return which list says what the model costs, if any does."""
        return "settings" if model in self._own else self._list

    def usd(
        self,
        usage: RequestUsage,
        provider: str,
        model: str,
        url: str | None,
        answered_by: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> Decimal | None:
        """Return what `usage` costs now; None where nobody knows the price."""
        if OFFLINE in (provider, model, answered_by) or not (
            usage.input_tokens or usage.output_tokens
        ):
            return Decimal(0)
        if own := self._own.get(model):
            return (usage.input_tokens * own.input + usage.output_tokens * own.output) / 1_000_000
        # The name that answers may be one of a day, which the list does not have.
        for name in filter(None, (answered_by, model)):
            response = ModelResponse(
                [],
                usage=usage,
                model_name=name,
                provider_name=provider,
                provider_url=url,
                provider_details=details,
                timestamp=datetime.now(UTC),
            )
            try:
                return response.cost().total_price
            except (LookupError, ValueError):
                continue
        return None


class Estimates:
    """How many tokens texts have, by what each model has reported of others so far."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: _PRIOR)

    def tokens(self, model: str, kind: str, size_bytes: int) -> int:
        """Return how many tokens a text of this size is likely to have."""
        size, tokens = self._seen[model, kind]
        return round(size_bytes * tokens / size)

    def learn(self, model: str, kind: str, size_bytes: int, tokens: int) -> None:
        """Note how many it did have."""
        # Else one picture, or one odd report, spoils what is known of all the others.
        tokens = min(tokens, _MOST_A_BYTE[kind] * size_bytes)
        if tokens:
            seen = self._seen[model, kind]
            self._seen[model, kind] = (seen[0] + size_bytes, seen[1] + tokens)
