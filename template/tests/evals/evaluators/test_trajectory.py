"""Runs that do what they should, and runs that do less, more, or something else."""

from typing import Any

import pytest
from pydantic_evals.evaluators import Evaluator

from evals.evaluators.trajectory import Asks, Call, Calls, Completes, Done, NothingElse, Says
from tests.evals.evaluators.contexts import context, found

SUM = Call(tool="calculator", arguments={"expression": "12 * 12"})
TELL = Call(tool="notify", arguments={"message": "It is 144, team."}, asks=True)


def failures(done: Done, expected: Done) -> list[str]:
    """Return the names of the checks that do not hold."""
    given = context(done, expected)
    failed = []
    for each in (Completes(), Calls(), NothingElse(), Asks(), Says()):
        said = found(each, given)
        values = said if isinstance(said, dict) else {type(each).__name__: said}
        failed += [name for name, holds in values.items() if not holds]
    return failed


def reason(evaluator: Evaluator[Any, Any, Any], done: Done, expected: Done, name: str = "") -> Any:
    said: Any = evaluator.evaluate_sync(context(done, expected))
    return (said[name] if name else said).reason


def test_a_run_that_does_what_is_expected_passes() -> None:
    expected = Done(
        calls=[SUM, Call(tool="notify", contains={"message": ["144"]}, asks=True)],
        in_order=True,
        says=["144"],
        never=["145"],
    )
    assert failures(Done(calls=[SUM, TELL], output="It is 144."), expected) == []


def test_a_run_that_failed_is_a_failed_case_whatever_it_did() -> None:
    done = Done(calls=[SUM], error="It took too long.")
    assert failures(done, Done(calls=[SUM])) == ["Completes"]
    assert reason(Completes(), done, Done()) == "the run failed: It took too long."


@pytest.mark.parametrize(
    ("calls", "why"),
    [
        ([], "it does not call calculator(expression='12 * 12'), but no tool"),
        (
            [Call(tool="calculator", arguments={"expression": "12 + 12"})],
            "it does not call calculator(expression='12 * 12'), but"
            " calculator(expression='12 + 12')",
        ),
    ],
)
def test_a_call_that_is_missing_is_named_with_those_that_were_made(
    calls: list[Call], why: str
) -> None:
    assert "Calls" in failures(Done(calls=calls), Done(calls=[SUM]))
    assert reason(Calls(), Done(calls=calls), Done(calls=[SUM])) == why


@pytest.mark.parametrize(
    ("expected", "matches"),
    [
        (Call(tool="calculator"), True),
        (Call(tool="calculator", arguments={"expression": "12*12"}), True),
        (Call(tool="calculator", contains={"expression": ["12"]}), True),
        (Call(tool="calculator", contains={"expression": ["12", "13"]}), False),
        (Call(tool="calculator", contains={"expression": ["1"]}), False),
        (Call(tool="calculator", arguments={"digits": 2}), False),
        (Call(tool="notify"), False),
    ],
)
def test_only_the_arguments_that_a_case_names_matter(expected: Call, matches: bool) -> None:
    assert expected.matches(SUM) is matches


def test_the_order_matters_where_the_case_says_so() -> None:
    done = Done(calls=[TELL, SUM])
    expected = Done(calls=[SUM, TELL])
    assert failures(done, expected) == []
    assert failures(done, expected.model_copy(update={"in_order": True})) == ["Calls"]


def test_one_call_does_not_stand_for_two_that_are_to_follow_one_another() -> None:
    twice = Done(calls=[SUM, SUM], in_order=True)
    assert failures(Done(calls=[SUM]), twice) == ["Calls"]
    assert failures(Done(calls=[SUM, SUM]), twice) == []


def test_nothing_is_called_that_the_case_does_not_allow() -> None:
    other = Call(tool="fetch_page", arguments={"url": "https://elsewhere.example"})
    done = Done(calls=[SUM, other])
    assert failures(done, Done(calls=[SUM])) == ["NothingElse"]
    assert failures(done, Done(calls=[SUM], allows=[Call(tool="fetch_page")])) == []
    assert reason(NothingElse(), done, Done(calls=[SUM])) == (
        "the case wants no call of: fetch_page(url='https://elsewhere.example')"
    )


def test_a_person_is_asked_exactly_where_that_is_due() -> None:
    unasked = TELL.model_copy(update={"asks": False})
    assert failures(Done(calls=[unasked]), Done(calls=[TELL])) == ["Asks"]
    assert failures(Done(calls=[TELL]), Done(calls=[unasked])) == ["asks no more"]
    assert reason(Asks(), Done(calls=[TELL]), Done(), "asks no more") == (
        "a person was asked without need for: notify(message='It is 144, team.')"
    )


def test_the_output_says_what_it_should_and_nothing_that_it_should_not() -> None:
    expected = Done(says=["144", "team"], never=["secret"])
    done = Done(output="The secret is 144.")
    assert failures(done, expected) == ["Says", "keeps to itself"]
    assert reason(Says(), done, expected, "Says") == "it does not say: 'team'"
    assert reason(Says(), done, expected, "keeps to itself") == "it says: 'secret'"
