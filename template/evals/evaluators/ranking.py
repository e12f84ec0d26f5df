"""How well a ranking finds what it should: recall, reciprocal rank and discounted gain."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

from pydantic_evals.evaluators import EvaluationReason, Evaluator, EvaluatorContext

from evals.engine.eval import About


@dataclass(repr=False)
class Ranking(Evaluator[object, list[str], About]):
    """The expected ones are all among the first `k`; the best ones first, where it can be said.

    Scores recall@k, MRR (one over the rank of the first right one) and nDCG@k, from 0 to 1.
    """

    k: int = 5

    def evaluate(
        self, ctx: EvaluatorContext[object, list[str], About]
    ) -> dict[str, float | EvaluationReason]:
        wanted = set(ctx.expected_output or ())
        first = ctx.output[: self.k]
        missing = sorted(wanted - set(first))
        found = f"missing among the first {self.k}: {', '.join(missing)}"
        return {
            f"recall@{self.k}": len(wanted & set(first)) / len(wanted) if wanted else 1.0,
            "mrr": reciprocal_rank(ctx.output, wanted),
            f"ndcg@{self.k}": discounted_gain(ctx.output, wanted, self.k),
            f"all in {self.k}": EvaluationReason(not missing, found),
        }


def reciprocal_rank(ranked: Sequence[str], wanted: set[str]) -> float:
    return next((1 / rank for rank, one in enumerate(ranked, 1) if one in wanted), 0.0)


def discounted_gain(ranked: Sequence[str], wanted: set[str], k: int) -> float:
    """Return nDCG@k, where each one wanted is worth the same, and counts once."""
    first = list(dict.fromkeys(ranked[:k]))
    gain = sum(1 / log2(rank + 1) for rank, one in enumerate(first, 1) if one in wanted)
    best = sum(1 / log2(rank + 1) for rank in range(1, min(len(wanted), k) + 1))
    return gain / best if best else 1.0
