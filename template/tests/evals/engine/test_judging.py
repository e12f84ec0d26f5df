"""A judge on an eval: by what a case may fail, and what the run says where it may not."""

import json
from pathlib import Path
from typing import cast

import pytest
from pydantic_ai import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_evals import Dataset

from app.resources import Resources
from evals.__main__ import load, names
from evals.engine import calibration, judging
from evals.engine.calibration import Calibration, Labelled, Labels
from evals.engine.eval import About, Eval
from evals.engine.results import Check, Result
from evals.engine.running import Service, run
from evals.evaluators.judge import Judge
from evals.evaluators.text import Says

RUBRIC = "Is it polite?"
CASES = "cases:\n- {name: one, inputs: a, expected_output: A}\n"


async def ask(resources: Resources, text: str) -> str:
    return text


def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    output = json.dumps({"critique": "It is rude.", "passes": False})
    return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, output)])


JUDGE = Judge(FunctionModel(respond), "strict")


def labels(*rubrics: str) -> Labels:
    cases = [
        Labelled(question="Q?", answer=f"{passes}", rubric=rubric, passes=passes, why="So.")
        for rubric in rubrics
        for passes in (True, False)
    ]
    return Labels(tuple(cases), "digest")


def calibrate(folder: Path, *, right: int = 40) -> None:
    """Say that the judge is right about so many of 40 good and 40 bad answers."""
    found = Calibration(
        judge=JUDGE.name,
        text=JUDGE.digest,
        labels="digest",
        true_positives=right,
        false_negatives=40 - right,
        true_negatives=right,
        false_positives=40 - right,
    )
    calibration.save(found, folder)


async def judged(folder: Path, labels: Labels, rubric: str | None = RUBRIC) -> Result:
    (folder / "echo.yaml").write_text(CASES)
    echo = Eval(
        dataset=Dataset[str, str, About],
        ask=ask,
        asked=lambda resources: ("m", {}),
        evaluators=[Says()],
        rubric=rubric,
    )
    service = Service(cast(Resources, None))
    return await run("echo", echo, judging.with_judge(service, JUDGE, labels, folder), folder)


def checks(result: Result) -> list[Check]:
    return [check for check in result.outcomes[0].runs[0].checks if check.name != "Says"]


async def test_a_judge_fails_cases_by_a_rubric_that_it_was_calibrated_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calibrate(tmp_path)
    result = await judged(tmp_path, labels(RUBRIC))
    assert checks(result) == [Check(name="judged", holds=False, reason="It is rude.")]
    assert not result.outcomes[0].passed
    assert result.asked.judge == f"strict {JUDGE.digest}"
    assert caplog.records == []


async def test_by_a_rubric_without_labels_no_case_fails_and_the_run_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calibrate(tmp_path)
    result = await judged(tmp_path, labels("Is it short?"))
    assert checks(result) == [
        Check(name="judged, not measured", holds=False, reason="It is rude.", advisory=True)
    ]
    assert result.outcomes[0].passed
    assert result.asked.judge is None
    [told] = caplog.messages
    assert told == (
        "The judge does not gate by the rubric 'Is it polite?': evals/labelled has no good and bad"
        " answer to it. Label some there, and calibrate again."
    )


@pytest.mark.parametrize(("right", "why"), [(None, "never calibrated"), (20, "may not gate")])
async def test_a_judge_that_is_not_good_enough_fails_no_case(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, right: int | None, why: str
) -> None:
    if right is not None:
        calibrate(tmp_path, right=right)
    result = await judged(tmp_path, labels(RUBRIC))
    assert [(check.name, check.advisory) for check in checks(result)] == [("judged", True)]
    assert result.asked.judge is None
    assert why in caplog.text


async def test_without_a_rubric_nobody_judges(tmp_path: Path) -> None:
    calibrate(tmp_path)
    result = await judged(tmp_path, labels(RUBRIC), rubric=None)
    assert checks(result) == []
    assert result.asked.judge is None


async def test_what_was_measured_is_kept_and_told(tmp_path: Path) -> None:
    told = await judging.measured(JUDGE, labels(RUBRIC), tmp_path)
    assert "TPR of 1" in told
    assert "The judge strict may not gate." in told
    assert "Q?: It is rude." in told
    assert calibration.load(tmp_path, JUDGE, labels(RUBRIC)).n == 2


def test_answers_are_labelled_for_each_rubric_that_comes_with_the_service() -> None:
    rubrics = {found.rubric for found in map(load, names()) if found.rubric}
    assert rubrics
    for rubric in rubrics:
        passes = [one.passes for one in judging.labels().cases if one.rubric == rubric]
        assert (passes.count(True), passes.count(False)) >= (6, 6)
