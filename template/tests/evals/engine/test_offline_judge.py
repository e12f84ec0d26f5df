"""The judge without a provider: deterministic, and plain about what it is."""

import pytest

from app.llm.offline import offline_model

from evals.engine.offline_judge import judge_by_words
from evals.evaluators.judge import Judge


@pytest.mark.parametrize(
    ("answer", "reference", "passes"),
    [
        ("It opens at nine.", "The shop opens at nine", True),
        ("No idea.", "The shop opens at nine", False),
        ("When does the shop open: at nine", None, True),
        ("No idea.", None, False),
        ("a < b & c", "a < b & c", True),
    ],
)
async def test_an_answer_passes_by_the_words_that_it_shares(
    answer: str, reference: str | None, passes: bool
) -> None:
    judge = Judge(offline_model(judge_by_words), "offline")
    judged = await judge.verdict("When does the shop open?", answer, "It is right.", reference)
    assert judged.passes is passes
    assert judged.critique.startswith("Offline model: the answer has ")
