"""Retrieval: is the document that answers a question among the first that are found?"""

from collections.abc import Mapping

from pydantic_evals import Dataset

from app.resources import Resources
from evals.engine.database import PRINCIPAL
from evals.engine.eval import About, Eval
from evals.evaluators.ranking import Ranking


async def ask(resources: Resources, question: str) -> list[str]:
    """Return the titles of what is found, the best first, each once."""
    found = await resources.retriever.retrieve(PRINCIPAL, question, limit=20)
    return list(dict.fromkeys(passage.title for passage in found))


def asked(resources: Resources) -> tuple[str, Mapping[str, str]]:
    """Name the model that compares texts by meaning."""
    return resources.embeddings.model, {}


EVAL = Eval(
    dataset=Dataset[str, list[str], About],
    ask=ask,
    asked=asked,
    evaluators=[Ranking(k=3)],
    floors={"all": 0.7},
)
