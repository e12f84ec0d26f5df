"""Answers with citations, right and wrong."""

from collections.abc import Sequence

import pytest

from evals.claims import Critique
from evals.evaluators.citations import Abstains, Answered, Cited, Cites, Claims, Grounded, Says
from tests.evals.evaluators.contexts import context, found

PASSAGE = "Parts can be returned within 30 days. Used parts are not taken back."
QUOTE = "returned within 30 days"
HOLDS = Cited(title="returns.md", quote=QUOTE, passage=PASSAGE)
EXPECTED = Answered(says=["30 days"], cites=[Cited(title="returns.md")])
GOOD = Answered(text="Parts can be returned within 30 days. [1]", cites=[HOLDS])


def test_a_good_answer_holds_in_every_way() -> None:
    given = context(GOOD, EXPECTED)
    assert found(Abstains(), given) is True
    assert found(Says(), given) is True
    assert found(Cites(), given) == {"Cites": True, "quotes hold": True}
    assert found(Grounded(), given) == {"Supported": True, "grounded": 1}


@pytest.mark.parametrize(("does", "should"), [(True, False), (False, True)])
def test_abstaining_is_right_where_the_documents_have_no_answer(does: bool, should: bool) -> None:
    answer, expected = Answered(abstains=does), Answered(abstains=should)
    assert found(Abstains(), context(answer, expected)) is False
    assert found(Abstains(), context(answer, answer)) is True


@pytest.mark.parametrize("should", [True, False])
def test_a_model_that_refused_or_was_cut_off_did_not_abstain(should: bool) -> None:
    answer = Answered(abstains=True, stopped="The model refused, and gave no reason.")
    said = Abstains().evaluate(context(answer, Answered(abstains=should)))
    assert (said.value, said.reason) == (False, "The model refused, and gave no reason.")


def test_what_is_not_said_fails() -> None:
    said = Says().evaluate(context(Answered(text="Soon."), EXPECTED))
    assert (said.value, said.reason) == (False, "it does not say '30 days'")


def test_another_document_and_a_quote_that_is_not_there_fail() -> None:
    other = Cited(title="shop.md", quote="returned within 40 days", passage=PASSAGE)
    answer = Answered(text=GOOD.text, cites=[other])
    assert found(Cites(), context(answer, EXPECTED)) == {"Cites": False, "quotes hold": False}


def test_a_sentence_without_support_fails_and_one_that_is_made_up_counts() -> None:
    answer = Answered(
        text="Parts can be returned within 30 days. [1] The moon is made of green cheese.",
        cites=[HOLDS],
        unsupported=["The moon is made of green cheese."],
    )
    assert found(Grounded(), context(answer, EXPECTED)) == {"Supported": False, "grounded": 0.5}


def test_who_abstains_says_nothing_that_could_be_wrong() -> None:
    answer = Answered(text="I found no answer.", abstains=True)
    assert found(Grounded(), context(answer)) == {"Supported": True, "grounded": 1}


class Doubting:
    """Supports nothing, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def judge(self, claim: str, passages: Sequence[str]) -> Critique:
        self.asked.append(claim)
        return Critique(critique="It is made up.", supported=False)


async def test_a_judge_looks_at_the_claims_that_the_screen_flags() -> None:
    judge = Doubting()
    answer = Answered(
        text="Parts can be returned within 30 days. [1] The moon is made of green cheese.",
        cites=[HOLDS],
    )
    said = (await Claims(judge).evaluate(context(answer)))["claims"]
    assert said.value is False
    assert "green cheese. (It is made up.)" in (said.reason or "")
    assert "The moon is made of green cheese." in judge.asked
    assert (await Claims(judge).evaluate(context(Answered(abstains=True))))["claims"].value is True
