"""Whether an answer from documents says what they say, and shows where."""

from dataclasses import dataclass

from pydantic import BaseModel
from pydantic_evals.evaluators import EvaluationReason, Evaluator, EvaluatorContext

from evals.claims import ClaimJudge, check_claims
from evals.engine.eval import CLAIMS, About
from evals.evaluators.groundedness import claims, screen
from evals.evaluators.text import plain, says


class Cited(BaseModel, extra="forbid"):
    """A quote, the title of its document, and the passage that it is from."""

    title: str
    quote: str = ""
    passage: str = ""


class Answered(BaseModel, extra="forbid"):
    """What was answered; or, of a case, what is expected: `says`, each of it, and `cites`."""

    text: str = ""
    cites: list[Cited] = []
    unsupported: list[str] = []
    abstains: bool = False
    # Why the model did not finish: it refused, or was cut off.
    stopped: str = ""
    says: list[str] = []


Context = EvaluatorContext[str, Answered, About]


def _expected(ctx: Context) -> Answered:
    return ctx.expected_output or Answered()


@dataclass(repr=False)
class Abstains(Evaluator[str, Answered, About]):
    """It gives no answer where the documents have none, and one where they have.

    A model that refused, or was cut off before it said anything, did not find that out.
    """

    def evaluate(self, ctx: Context) -> EvaluationReason:
        if ctx.output.abstains and ctx.output.stopped:
            return EvaluationReason(False, ctx.output.stopped)
        reason = "it abstains" if ctx.output.abstains else "it answers"
        return EvaluationReason(ctx.output.abstains == _expected(ctx).abstains, reason)


@dataclass(repr=False)
class Says(Evaluator[str, Answered, About]):
    """It says what is expected, each of it, whatever else it says."""

    def evaluate(self, ctx: Context) -> EvaluationReason:
        missing = [words for words in _expected(ctx).says if not says(ctx.output.text, words)]
        return EvaluationReason(not missing, f"it does not say {', '.join(map(repr, missing))}")


@dataclass(repr=False)
class Cites(Evaluator[str, Answered, About]):
    """It cites the documents that it should, maybe others too, and each quote is in its passage."""

    def evaluate(self, ctx: Context) -> dict[str, EvaluationReason]:
        cited = ctx.output.cites
        missing = {one.title for one in _expected(ctx).cites} - {one.title for one in cited}
        broken = [one.quote for one in cited if plain(one.quote) not in plain(one.passage)]
        return {
            "Cites": EvaluationReason(not missing, f"not cited: {', '.join(sorted(missing))}"),
            "quotes hold": EvaluationReason(not broken, f"in no passage: {broken}"),
        }


@dataclass(repr=False)
class Claims(Evaluator[str, Answered, About]):
    """No claim is made up: a judge reads what the screen flags, and a sample of the rest."""

    judge: ClaimJudge

    async def evaluate(self, ctx: Context) -> dict[str, EvaluationReason]:
        text = "" if ctx.output.abstains else ctx.output.text
        passages = [one.passage for one in ctx.output.cites]
        checked = await check_claims(text, passages, judge=self.judge)
        wrong = [f"{one.claim} ({one.reason})" for one in checked if not one.supported]
        return {CLAIMS: EvaluationReason(not wrong, "; ".join(wrong))}

    def get_default_evaluation_name(self) -> str:
        return CLAIMS

    def build_serialization_arguments(self) -> dict[str, str]:
        return {}


@dataclass(repr=False)
class Grounded(Evaluator[str, Answered, About]):
    """Each sentence is supported: it has a citation that holds, and the screen flags nothing.

    The screen compares words, numbers, names and negations (`groundedness.py`): a free paraphrase
    is flagged too, so the share of flagged sentences is a score, and no case fails by it.
    """

    def evaluate(self, ctx: Context) -> dict[str, float | EvaluationReason]:
        lacking = ctx.output.unsupported
        passages = [one.passage for one in ctx.output.cites]
        said = [] if ctx.output.abstains else claims(ctx.output.text)
        flagged = [sentence for sentence in said if not screen(sentence, passages).grounded]
        return {
            "Supported": EvaluationReason(not lacking, f"without support: {lacking}"),
            "grounded": 1 - len(flagged) / len(said) if said else 1.0,
        }
