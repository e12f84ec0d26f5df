"""Answers as the evals ask for them, and the labelled ones, which look alike."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.resources import Resources
from evals.answers import EVAL, ask
from evals.engine.judging import labels
from evals.evaluators.citations import Abstains, Answered, Cites
from tests.answers.conftest import RETURNS, FakeRetriever, answers_with, passages, scripted
from tests.evals.evaluators.contexts import context, found
from tests.llm.conftest import Scripted
from tests.llm.scripted import ScriptedModel, Turn

__all__ = ["scripted"]

GOOD = 'Within 30 days. <cite source="1">can be returned within 30 days</cite>'
NOT_THERE = Answered(abstains=True)


async def answered(model: ScriptedModel) -> Answered:
    retriever = FakeRetriever(passages(RETURNS))
    resources: Any = SimpleNamespace(answers=answers_with(model, retriever), retriever=retriever)
    return await ask(cast(Resources, resources), "How long?")


async def test_an_answer_comes_with_the_passages_that_it_cites(scripted: Scripted) -> None:
    answer = await answered(scripted(GOOD))
    assert answer.text == "Within 30 days. [1]"
    assert [(one.title, one.passage) for one in answer.cites] == [("Terms", RETURNS)]
    assert (answer.abstains, answer.stopped) == (False, "")


async def test_who_finds_no_answer_abstains(scripted: Scripted) -> None:
    answer = await answered(scripted("NO ANSWER"))
    assert (answer.abstains, answer.stopped) == (True, "")
    assert found(Abstains(), context(answer, NOT_THERE)) is True


@pytest.mark.parametrize(
    ("turn", "why"),
    [
        (Turn([], finish="content_filter"), "The model refused, and gave no reason."),
        (Turn(["Well, I"], finish="length"), "The answer was cut off"),
    ],
)
async def test_who_refuses_or_is_cut_off_does_not_pass_where_there_is_no_answer(
    scripted: Scripted, turn: Turn, why: str
) -> None:
    answer = await answered(scripted(turn))
    assert answer.abstains
    assert answer.stopped.startswith(why)
    assert found(Abstains(), context(answer, NOT_THERE)) is False


def test_labelled_answers_look_as_a_judge_is_shown_them() -> None:
    labelled = [one for one in labels().cases if one.rubric == EVAL.rubric]
    assert labelled
    for one in labelled:
        answer = Answered.model_validate_json(one.answer)
        assert answer.model_dump_json(exclude_defaults=True) == one.answer
        assert Answered.model_validate_json(one.reference or "")
        assert found(Cites(), context(answer))["quotes hold"] is True
