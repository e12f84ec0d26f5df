"""What a run of cases comes to, whatever the service does."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel
from pydantic_evals import Dataset, increment_eval_metric
from pydantic_evals.evaluators import EvaluationReason, Evaluator, EvaluatorContext

from app.errors import BadRequest, ServiceError, TooManyRequests, Unavailable
from app.resources import Resources
from evals.engine.eval import About, Eval
from evals.engine.results import Check, Result
from evals.engine.running import KEPT, Service, Unanswered, run, shown

CASES = """
cases:
- {name: one, inputs: a, expected_output: A, metadata: {slice: small, must_pass: true}}
- {name: two, inputs: b, expected_output: B}
"""
# The tests' evals ask nothing of it.
SERVICE = Service(cast(Resources, None))

Ask = Callable[[Resources, str], Awaitable[str]]


@dataclass(repr=False)
class Same(Evaluator[str, str, About]):
    def evaluate(
        self, ctx: EvaluatorContext[str, str, About]
    ) -> dict[str, float | EvaluationReason]:
        if ctx.output == "?":
            raise RuntimeError("what is that")
        same = ctx.output == ctx.expected_output
        return {"same": EvaluationReason(same, f"it is {ctx.output}"), "length": len(ctx.output)}


async def in_capitals(resources: Resources, text: str) -> str:
    increment_eval_metric("tokens_in", 3)
    return text.upper()


async def evaluate(
    folder: Path,
    ask: Ask = in_capitals,
    service: Service = SERVICE,
    model: str = "m",
    more: Sequence[Evaluator[str, str, About]] = (),
    cases: str = CASES,
    **options: Any,
) -> Result:
    (folder / "capitals.yaml").write_text(cases)
    found = Eval(
        dataset=Dataset[str, str, About],
        ask=ask,
        asked=lambda resources: (model, {"p/1": "digest"}),
        search=lambda resources: "words",
        evaluators=[Same(), *more],
        floors={"all": 0.5},
        tables=lambda cases: {"Counted": [[len(cases)]]},
    )
    return await run("capitals", found, service, folder, **options)


async def test_each_case_has_its_runs_with_checks_scores_and_what_they_took(
    tmp_path: Path,
) -> None:
    result = await evaluate(tmp_path, repeat=3)
    one, two = result.outcomes
    assert (one.case, one.question, one.expected, one.slice, one.must_pass) == (
        *("one", "a", "A", "small", True),
    )
    assert (two.slice, two.must_pass) == ("all", False)
    assert [len(outcome.runs) for outcome in result.outcomes] == [3, 3]
    assert one.runs[0].checks == (Check(name="same", holds=True),)
    assert one.runs[0].scores == {"length": 1}
    assert one.runs[0].input_tokens == 3
    assert one.runs[0].seconds > 0
    assert (result.asked.model, result.asked.prompts) == ("m", {"p/1": "digest"})
    assert (result.asked.judge, result.asked.search) == (None, "words")
    assert result.tables == {"Counted": [[6]]}
    assert result.floors == {"all": 0.5}


async def test_a_dataset_is_known_by_its_bytes(tmp_path: Path) -> None:
    before = (await evaluate(tmp_path)).asked.dataset
    assert (await evaluate(tmp_path)).asked.dataset == before


async def test_a_wrong_answer_has_the_reason_and_a_right_one_has_none(tmp_path: Path) -> None:
    async def ask(resources: Resources, text: str) -> str:
        return "A"

    one, two = (await evaluate(tmp_path, ask)).outcomes
    assert one.runs[0].checks == (Check(name="same", holds=True),)
    assert two.runs[0].checks == (Check(name="same", holds=False, reason="it is A"),)
    assert (one.passed, two.passed) == (True, False)


async def test_a_case_that_the_service_refuses_has_failed(tmp_path: Path) -> None:
    async def ask(resources: Resources, text: str) -> str:
        raise BadRequest("That is too long.")

    one, _ = (await evaluate(tmp_path, ask)).outcomes
    assert one.runs[0].checks == (
        Check(name="answered", holds=False, reason="400: That is too long."),
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Unavailable("The model is away."), "The model is away."),
        (TooManyRequests("Slow down."), "Slow down."),
        (ServiceError("It failed."), "It failed."),
        (KeyError("typo"), "typo"),
    ],
)
async def test_a_service_that_cannot_answer_ends_the_eval_and_is_asked_no_more(
    tmp_path: Path, error: Exception, said: str
) -> None:
    asked: list[str] = []

    async def ask(resources: Resources, text: str) -> str:
        asked.append(text)
        raise error

    with pytest.raises(Unanswered, match=said):
        await evaluate(tmp_path, ask, repeat=20)
    assert len(asked) < 40


async def test_one_refusal_does_not_hide_that_the_service_cannot_answer(tmp_path: Path) -> None:
    both = asyncio.Barrier(2)

    async def ask(resources: Resources, text: str) -> str:
        await both.wait()
        if text == "a":
            raise Unavailable("The model is away.")
        await asyncio.sleep(0)
        raise BadRequest("That is too long.")

    with pytest.raises(Unanswered, match=r"The model is away\."):
        await evaluate(tmp_path, ask)


@pytest.mark.parametrize("failing", [True, False])
async def test_what_only_advises_may_fail(tmp_path: Path, failing: bool) -> None:
    @dataclass(repr=False)
    class Advice(Evaluator[str, str, About]):
        def evaluate(self, ctx: EvaluatorContext[str, str, About]) -> bool:
            if failing:
                raise RuntimeError("no verdict")
            return False

    service = replace(SERVICE, advisory=frozenset({"Advice"}))
    one, _ = (await evaluate(tmp_path, service=service, more=[Advice()])).outcomes
    [_, check] = one.runs[0].checks
    assert (check.name, check.holds, check.advisory) == ("Advice", False, True)
    assert one.passed


async def test_an_eval_that_asserts_nothing_is_a_fault_and_no_pass(tmp_path: Path) -> None:
    service = replace(SERVICE, advisory=frozenset({"same"}))
    with pytest.raises(ValueError, match="No evaluator says whether 'one' passes"):
        await evaluate(tmp_path, service=service)


@pytest.mark.parametrize(
    ("model", "replayed", "chance"),
    [
        ("m", False, True),
        ("m", True, False),
        ("offline", False, False),
        ("offline:x", False, False),
    ],
)
async def test_only_what_is_asked_of_a_model_is_left_to_chance(
    tmp_path: Path, model: str, replayed: bool, chance: bool
) -> None:
    service = replace(SERVICE, replayed=replayed)
    assert (await evaluate(tmp_path, service=service, model=model)).chance is chance


async def test_an_evaluator_that_fails_ends_the_eval(tmp_path: Path) -> None:
    async def ask(resources: Resources, text: str) -> str:
        return "?"

    with pytest.raises(Unanswered, match="capitals, one: Same: RuntimeError: what is that"):
        await evaluate(tmp_path, ask)


async def test_a_run_of_answers_that_were_kept_is_marked(tmp_path: Path) -> None:
    async def ask(resources: Resources, text: str) -> str:
        if text == "b":
            increment_eval_metric(KEPT, 1)
        return text

    one, two = (await evaluate(tmp_path, ask)).outcomes
    assert (one.runs[0].cached, two.runs[0].cached) == (False, True)


async def test_a_price_that_nobody_knows_is_no_price(tmp_path: Path) -> None:
    async def ask(resources: Resources, text: str) -> str:
        increment_eval_metric("usd", 0.25)
        increment_eval_metric("unpriced", int(text == "b"))
        return text

    one, two = (await evaluate(tmp_path, ask)).outcomes
    assert (one.runs[0].cost_usd, two.runs[0].cost_usd) == (0.25, None)


class Thing(BaseModel):
    name: str = ""
    size: int = 0


@pytest.mark.parametrize(
    ("value", "text"),
    [("as it is", "as it is"), (["a"], '[\n  "a"\n]'), (Thing(size=1), '{\n  "size": 1\n}')],
)
def test_values_are_shown_as_people_read_them(value: object, text: str) -> None:
    assert shown(value) == text


async def test_what_nobody_has_reviewed_is_not_asked(tmp_path: Path) -> None:
    more = "- {name: three, inputs: c, metadata: {reviewed_by: null}}\n"
    more += "- {name: four, inputs: d, expected_output: D, metadata: {reviewed_by: Ada}}\n"
    result = await evaluate(tmp_path, cases=CASES + more)
    assert [outcome.case for outcome in result.outcomes] == ["one", "two", "four"]
    assert result.unreviewed == ("three",)


async def test_one_case_has_to_be_reviewed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no case with reviewed_by"):
        await evaluate(
            tmp_path, cases="cases:\n- {name: a, inputs: a, metadata: {reviewed_by: null}}"
        )
