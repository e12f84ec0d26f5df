"""`poe prompt diff`: what a version changes, in words and in cases."""

from typing import Literal

import pytest

from evals.engine.results import Asked, Check, Outcome, Result, Run
from evals.prompt import main, preferred


def test_the_other_commands_are_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    assert "chat/1" in capsys.readouterr().out


def test_a_version_beside_itself_differs_in_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["diff", "classify@1", "classify@1"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "classify: " in said
    assert " now: " not in said
    assert "chat" not in said


def test_a_judge_is_asked_about_what_has_a_rubric(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["diff", "chat@1", "chat@1", "--judge", "offline", "--judge-itself"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "  0 cases are answered otherwise. The judge finds 0 better with the first" in said


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        (("chat@1", "classify@1"), "chat/1 and classify/1 are versions of two prompts"),
        (("chat@1", "chat@99"), "there is no prompt chat/99"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], versions: tuple[str, str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["diff", *versions])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def result(**outputs: str) -> Result:
    checks = (Check(name="Says", holds=True),)
    outcomes = [
        Outcome(case=case, question=f"{case}?", expected="", runs=(Run(output=out, checks=checks),))
        for case, out in outputs.items()
    ]
    return Result(name="chat", asked=Asked(model="m", dataset="d"), outcomes=tuple(outcomes))


async def test_a_judge_compares_the_cases_that_are_answered_otherwise() -> None:
    asked: list[str] = []

    async def longer(question: str, a: str, b: str, rubric: str) -> Literal["a", "b", "tie"]:
        asked.append(f"{question} {rubric}")
        return "tie" if len(a) == len(b) else "a" if len(a) > len(b) else "b"

    old = result(same="x", one="x", two="x", three="x", four="xx", five="y")
    new = result(same="x", one="xx", two="xx", three="xx", four="x", five="z")
    assert await preferred(old, new, "Longer", longer) == (
        "5 cases are answered otherwise. The judge finds 1 better with the first version, 3 with"
        " the second, and 1 with neither (two-sided sign test: p = 0.62)."
    )
    assert asked == [f"{case}? Longer" for case in ("one", "two", "three", "four", "five")]
