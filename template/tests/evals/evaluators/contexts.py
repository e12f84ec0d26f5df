"""A context to try an evaluator with."""

from typing import Any

from pydantic_evals.evaluators import EvaluationReason, Evaluator, EvaluatorContext
from pydantic_evals.otel._errors import SpanTreeRecordingError


def context(
    output: Any, expected: Any = None, *, inputs: Any = "", duration: float = 0, **metrics: float
) -> EvaluatorContext[Any, Any, Any]:
    """Return what an evaluator is given for one run of one case."""
    return EvaluatorContext(
        name="case",
        inputs=inputs,
        metadata=None,
        expected_output=expected,
        output=output,
        duration=duration,
        _span_tree=SpanTreeRecordingError("no spans are recorded"),
        attributes={},
        metrics=dict(metrics),
    )


def found(evaluator: Evaluator[Any, Any, Any], given: EvaluatorContext[Any, Any, Any]) -> Any:
    """Return what an evaluator says: its value, or its values by name."""
    said = evaluator.evaluate_sync(given)
    if isinstance(said, dict):
        return {name: getattr(each, "value", each) for name, each in said.items()}
    return said.value if isinstance(said, EvaluationReason) else said
