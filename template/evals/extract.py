"""Extract: are the fields of a document right?"""

from pydantic_evals import Dataset

from app.resources import Resources
from evals.engine.asked import asked_with
from evals.engine.eval import About, Eval
from evals.evaluators.fields import Data, Fields


async def ask(resources: Resources, text: str) -> Data:
    """Return the data; without any, only why: nothing is found then."""
    result = await resources.extract(text)
    return result.data.model_dump(mode="json") if result.data else {"outcome": result.outcome}


EVAL = Eval(
    dataset=Dataset[str, Data, About],
    ask=ask,
    asked=asked_with("extract"),
    evaluators=[Fields()],
    floors={"all": 0.6},
)
