"""Answers: do they say what the documents say, cite it, and abstain where it is not there?"""

from typing import Final

from pydantic_evals import Dataset

from app.answers.answer import Question
from app.answers.settle import NO_CITATION, NO_PASSAGE, NOT_THERE

from app.resources import Resources
from evals.claims import ModelJudge
from evals.engine.asked import asked_with
from evals.engine.database import PRINCIPAL
from evals.engine.eval import About, Eval
from evals.evaluators.citations import Abstains, Answered, Cited, Cites, Claims, Grounded, Says

# What is said of an answer that the model neither refused nor broke off.
_WHOLE: Final = (None, NO_PASSAGE, NO_CITATION, NOT_THERE)


async def ask(resources: Resources, question: str) -> Answered:
    """Return the answer with the passages that it cites."""
    asked = Question(question=question)
    answer = await resources.answers.reply(PRINCIPAL, asked)
    found = await resources.retriever.retrieve(PRINCIPAL, question, limit=asked.limit)
    passages = {passage.chunk_id: passage.text for passage in found}
    return Answered(
        text=answer.answer,
        cites=[
            Cited(title=one.title, quote=one.quote, passage=passages[one.chunk_id])
            for one in answer.citations
        ],
        unsupported=answer.unsupported,
        abstains=answer.abstained,
        stopped="" if answer.detail in _WHOLE else str(answer.detail),
    )


EVAL = Eval(
    dataset=Dataset[str, Answered, About],
    ask=ask,
    asked=asked_with("answer"),
    search=lambda resources: resources.embeddings.model,
    evaluators=[Abstains(), Says(), Cites(), Grounded()],
    floors={"all": 0.6},
    claims=lambda model: [Claims(ModelJudge(model))],
    rubric="It answers the question with what the cited passages say, and adds nothing of its own."
    " Where `abstains` is true, the passages hold no answer to the question.",
)
