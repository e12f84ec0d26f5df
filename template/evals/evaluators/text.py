"""Whether a text says what it should."""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

from pydantic_evals.evaluators import EvaluationReason, Evaluator, EvaluatorContext

from evals.engine.eval import About


def says(text: str, words: str) -> bool:
    """Tell whether `text` holds these words, and not only as a part of others."""
    return bool(re.search(rf"(?<!\w){re.escape(plain(words))}(?!\w)", plain(text)))


def plain(text: str) -> str:
    """Return a text without what does not matter: case, and how much space is between words."""
    return " ".join(text.casefold().split())


@dataclass(repr=False)
class Says(Evaluator[object, str, About]):
    """The answer holds the expected text, whatever else it says."""

    def evaluate(self, ctx: EvaluatorContext[object, str, About]) -> EvaluationReason:
        if not ctx.expected_output:
            raise ValueError("the case has no expected_output")
        holds = says(ctx.output, ctx.expected_output)
        return EvaluationReason(holds, f"it does not say {ctx.expected_output!r}")


@dataclass(repr=False)
class Matches(Evaluator[object, str, About]):
    """The answer matches a regular expression somewhere."""

    pattern: str

    def evaluate(self, ctx: EvaluatorContext[object, str, About]) -> EvaluationReason:
        found = re.search(self.pattern, ctx.output, re.IGNORECASE | re.MULTILINE)
        return EvaluationReason(bool(found), f"nothing matches {self.pattern!r}")


@dataclass(repr=False)
class Resembles(Evaluator[object, str, About]):
    """The answer is nearly the expected text: `ratio` is 1 for the same, 0 for no common letter."""

    at_least: float = 0.9

    def evaluate(
        self, ctx: EvaluatorContext[object, str, About]
    ) -> dict[str, float | EvaluationReason]:
        ratio = SequenceMatcher(None, plain(ctx.expected_output or ""), plain(ctx.output)).ratio()
        reason = f"the ratio is {ratio:.2f}, less than {self.at_least}"
        return {
            "ratio": ratio,
            "Resembles": EvaluationReason(ratio >= self.at_least, reason),
        }
