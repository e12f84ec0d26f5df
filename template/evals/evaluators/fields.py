"""How many fields of extracted data are right."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic_evals.evaluators import EvaluationReason, Evaluator, EvaluatorContext

from evals.engine.eval import About

Data = dict[str, Any]


@dataclass(repr=False)
class Fields(Evaluator[object, Data, About]):
    """F1 over the fields: a value counts where it stands at the same place in both.

    A field that the case does not name is not judged; one that is expected as null must be empty.
    The positions of a list may change places.
    """

    at_least: float = 1

    def evaluate(
        self, ctx: EvaluatorContext[object, Data, About]
    ) -> dict[str, float | EvaluationReason]:
        expected = ctx.expected_output or {}
        wanted = Counter(_leaves(expected))
        found = Counter(_leaves({k: v for k, v in ctx.output.items() if k in expected}))
        right = (wanted & found).total()
        total = wanted.total() + found.total()
        f1 = 2 * right / total if total else 1.0
        wrong = sorted({".".join(place) for place, _ in (wanted - found) + (found - wanted)})
        return {
            "field_f1": f1,
            "Fields": EvaluationReason(f1 >= self.at_least, f"wrong: {', '.join(wrong)}"),
        }


def _leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each value and the names that lead to it; nothing for what is empty."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*place, name))
    elif isinstance(value, list):
        for inner in value:
            # Which values belong to one position shows in what stands beside them.
            yield place, repr(sorted(_leaves(inner)))
    elif value is not None:
        yield place, _normal(value)


def _normal(value: Any) -> str:
    """Write a value so that 9.5, 9.50 and "9.50" are the same; "0117" is no number."""
    text = str(value)
    if re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", text):
        return str(Decimal(text).normalize())
    return " ".join(text.casefold().split())
