"""Whether an answer is exactly the one that was expected."""

from dataclasses import dataclass

from pydantic_evals.evaluators import EvaluationReason, Evaluator, EvaluatorContext

from evals.engine.eval import About


@dataclass(repr=False)
class Same(Evaluator[object, object, About]):
    """The answer is the expected one."""

    def evaluate(self, ctx: EvaluatorContext[object, object, About]) -> EvaluationReason:
        reason = f"it is {ctx.output!r}, not {ctx.expected_output!r}"
        return EvaluationReason(ctx.output == ctx.expected_output, reason)
