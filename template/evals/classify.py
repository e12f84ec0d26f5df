"""Classify: does a text get the label that a person gave it?"""

from pydantic_evals import Dataset

from app.resources import Resources
from evals.engine.asked import asked_with
from evals.engine.eval import About, Eval
from evals.evaluators.labels import confusion
from evals.evaluators.same import Same


async def ask(resources: Resources, text: str) -> str:
    """Return the label, or the outcome where there is none."""
    result = await resources.classify(text)
    return str(result.label or result.outcome)


EVAL = Eval(
    dataset=Dataset[str, str, About],
    ask=ask,
    asked=asked_with("classify"),
    evaluators=[Same()],
    floors={"plain": 0.75},
    tables=confusion,
)
