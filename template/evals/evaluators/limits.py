"""What an answer may take: time, tokens, money."""

from dataclasses import dataclass

from pydantic_evals.evaluators import EvaluationReason, Evaluator, EvaluatorContext

from evals.engine.eval import About
from evals.engine.running import KEPT


@dataclass(repr=False)
class Within(Evaluator[object, object, About]):
    """The answer took no more than this; a limit that is None is none.

    Where the price of an answer is not known, it is over any limit of money. An answer that was
    kept from an earlier run took no time of its own: there nothing is said of the seconds, so no
    case passes or fails by them. `--live` measures them.
    """

    seconds: float | None = None
    tokens: int | None = None
    usd: float | None = None

    def evaluate(self, ctx: EvaluatorContext[object, object, About]) -> dict[str, EvaluationReason]:
        took = ctx.metrics
        usd = float("inf") if took.get("unpriced") else took.get("usd", 0)
        tokens = took.get("tokens_in", 0) + took.get("tokens_out", 0)
        measured = {
            "seconds": (ctx.duration, self.seconds),
            "tokens": (tokens, self.tokens),
            "usd": (usd, self.usd),
        }
        return {
            f"within {most:g} {unit}": EvaluationReason(value <= most, f"it took {value:.4g}")
            for unit, (value, most) in measured.items()
            if most is not None and not (unit == "seconds" and took.get(KEPT))
        }
