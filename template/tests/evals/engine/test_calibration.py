"""How often a judge is right, as measured, and what keeps one from gating."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from pydantic_ai import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.function import AgentInfo, FunctionModel

from app.llm.failures import ProviderFailed

import evals
from evals.engine.calibration import (
    Calibration,
    Labelled,
    Labels,
    NotCalibrated,
    calibrate,
    load,
    save,
)
from evals.evaluators.judge import INSTRUCTIONS, Judge

SHIPPED = sorted((Path(evals.__file__).parent / "labelled").glob("judge*.jsonl"))


def labels(good: int, bad: int) -> Labels:
    """Return so many labelled answers; in the text of a good one is the word "good"."""
    cases = [
        Labelled(
            question=f"Question {number}?",
            answer="A good answer" if number < good else "A bad answer",
            rubric="Is it good?",
            passes=number < good,
            why="It says so itself.",
        )
        for number in range(good + bad)
    ]
    return Labels(tuple(cases), "digest")


def judge(
    tpr: float = 1, tnr: float = 1, *, name: str = "scripted", told: str = INSTRUCTIONS
) -> Judge:
    """Return a judge that is right with these chances, always in the same cases."""
    chance = random.Random(0)  # noqa: S311

    def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        good = "good answer" in str(messages[0].parts)
        right = chance.random() < (tpr if good else tnr)
        output = {"critique": "Tossed.", "passes": good == right}
        return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, json.dumps(output))])

    return Judge(FunctionModel(respond), name, told)


def calibration(right_of_good: int, good: int, right_of_bad: int, bad: int) -> Calibration:
    return Calibration(
        judge="scripted",
        text="text",
        labels="labels",
        true_positives=right_of_good,
        false_negatives=good - right_of_good,
        true_negatives=right_of_bad,
        false_positives=bad - right_of_bad,
    )


async def test_a_judge_of_known_rates_is_measured_within_its_intervals() -> None:
    found = await calibrate(judge(tpr=0.9, tnr=0.8), labels(200, 150))
    assert found.tpr.interval.low < 0.9 < found.tpr.interval.high
    assert found.tnr.interval.low < 0.8 < found.tnr.interval.high
    # What the rates come to with 200 good answers and 150 bad ones.
    assert found.accuracy.interval.low < 300 / 350 < found.accuracy.interval.high
    assert found.kappa.interval.low < 0.7059 < found.kappa.interval.high
    # And not by intervals that hold anything.
    for estimate in (found.tpr, found.tnr, found.accuracy):
        assert estimate.interval.high - estimate.interval.low < 0.15
    assert found.gates()


async def test_what_is_counted_is_where_judge_and_people_agree() -> None:
    found = await calibrate(judge(tpr=1, tnr=0), labels(3, 2))
    assert (found.true_positives, found.false_negatives) == (3, 0)
    assert (found.true_negatives, found.false_positives) == (0, 2)
    assert found.n == 5
    assert [(wrong.case.answer, wrong.critique) for wrong in found.disagreements] == [
        ("A bad answer", "Tossed."),
        ("A bad answer", "Tossed."),
    ]
    assert (found.judge, found.labels) == ("scripted", "digest")


def test_the_measures_are_those_of_the_counts() -> None:
    found = calibration(36, 40, 30, 40)
    assert found.rows == [
        ["accuracy of 80", "0.82 (0.73 to 0.89)"],
        ["TPR of 40", "0.90 (0.77 to 0.96)"],
        ["TNR of 40", "0.75 (0.60 to 0.86)"],
        ["Cohen's kappa", "0.65 (0.45 to 0.79)"],
    ]


async def test_a_judge_that_flips_a_fifth_does_not_gate() -> None:
    found = await calibrate(judge(tpr=0.8, tnr=0.8), labels(40, 40))
    assert not found.gates()


def test_a_judge_whose_lower_ends_reach_the_floor_gates() -> None:
    assert calibration(34, 40, 34, 40).gates()
    assert calibration(34, 40, 34, 40).why_not() == ""
    assert not calibration(33, 40, 40, 40).gates()
    assert not calibration(40, 40, 33, 40).gates()


def test_where_only_the_interval_is_too_wide_more_labels_are_asked_for() -> None:
    why = calibration(32, 40, 40, 40).why_not()
    assert why == (
        "The judge scripted may not gate. Of 40 answers that people pass it passes 0.80 (0.65 to"
        " 0.90), and the lower end has to reach 0.70. If it stays as good, about 41 more such"
        " labels would show it."
    )
    assert calibration(65, 81, 40, 40).gates()
    assert not calibration(56, 70, 40, 40).gates()


def test_where_the_judge_is_worse_than_the_floor_no_labels_help() -> None:
    why = calibration(40, 40, 28, 40).why_not()
    assert "Of 40 answers that people fail it fails 0.70 (0.55 to 0.82)" in why
    assert why.endswith(
        "More labels do not help: change the judge's text, the rubrics or the model."
    )


async def test_progress_is_told_after_each_and_few_are_asked_at_once() -> None:
    open_now, most, told = 0, 0, 0

    async def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await anyio.lowlevel.checkpoint()
        open_now -= 1
        output = json.dumps({"critique": "Fine.", "passes": True})
        return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, output)])

    def tell() -> None:
        nonlocal told
        told += 1

    slow = Judge(FunctionModel(respond), "slow")
    await calibrate(slow, labels(10, 10), concurrency=3, progress=tell)
    assert (most, told) == (3, 20)


async def test_a_judge_that_fails_ends_it() -> None:
    asked = 0

    def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        nonlocal asked
        asked += 1
        raise ModelHTTPError(500, "broken")

    with pytest.raises(ProviderFailed):
        await calibrate(Judge(FunctionModel(respond), "broken"), labels(10, 10), concurrency=2)
    await anyio.wait_all_tasks_blocked()
    assert asked < 10


async def test_a_calibration_is_found_again(tmp_path: Path) -> None:
    found = await calibrate(judge(tpr=0.8), labels(20, 20))
    path = save(found, tmp_path / "calibrations")
    assert path == tmp_path / "calibrations" / "scripted.json"
    assert load(tmp_path / "calibrations", judge(), labels(20, 20)) == found


async def test_the_name_of_a_judge_is_made_safe_for_a_file(tmp_path: Path) -> None:
    named = judge(name="openai:../../judge 1")
    assert save(await calibrate(named, labels(1, 1)), tmp_path).name == "openai-..-..-judge-1.json"
    alike = judge(name="openai/../../judge 1")
    with pytest.raises(NotCalibrated, match=r"it is of openai:\.\./"):
        load(tmp_path, alike, labels(1, 1))


async def test_what_changes_ends_a_calibration(tmp_path: Path) -> None:
    save(await calibrate(judge(), labels(2, 2)), tmp_path)
    with pytest.raises(NotCalibrated, match="hold: what the judge is told has changed"):
        load(tmp_path, judge(told="Be strict."), labels(2, 2))
    others = Labels(labels(2, 2).cases, "another")
    with pytest.raises(NotCalibrated, match="hold: the labelled file has changed"):
        load(tmp_path, judge(), others)
    with pytest.raises(NotCalibrated, match="changed and the labelled file has changed"):
        load(tmp_path, judge(told="Be strict."), others)


def test_a_judge_without_a_calibration_is_not_calibrated(tmp_path: Path) -> None:
    with pytest.raises(NotCalibrated, match="scripted was never calibrated"):
        load(tmp_path, judge(), labels(1, 1))
    (tmp_path / "scripted.json").write_text("{}")
    with pytest.raises(NotCalibrated, match=r"scripted.json is no calibration \(judge: Field"):
        load(tmp_path, judge(), labels(1, 1))


def test_the_shipped_files_are_readable_and_balanced() -> None:
    cases = Labels.read(*SHIPPED).cases
    good = sum(case.passes for case in cases)
    assert len(cases) >= 60
    assert 0.4 <= good / len(cases) <= 0.6


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., Path]:
    """Writes a labelled file: these lines, a good answer and a bad one."""

    def write(*more: str, both: bool = True) -> Path:
        one = {"question": "Q?", "answer": "A", "rubric": "R", "passes": True, "why": "W"}
        given = [json.dumps(one)]
        if both:
            given.append(
                json.dumps(one | {"answer": "B\u2028", "passes": False}, ensure_ascii=False)
            )
        path = tmp_path / "labels.jsonl"
        path.write_text("\n".join([*given, *more]) + "\n", "utf-8")
        return path

    return write


Lines = Callable[..., Path]


def test_a_labelled_file_has_a_digest_of_what_it_says(lines: Lines) -> None:
    read = Labels.read(lines())
    assert [case.answer for case in read.cases] == ["A", "B\u2028"]
    path = lines()
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert Labels.read(path).digest == read.digest
    path.write_bytes(path.read_bytes().replace(b'"W"', b'"Well"'))
    assert Labels.read(path).digest != read.digest


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("", "line 3: Invalid JSON"),
        ('{"question": "Q?"', "line 3: Invalid JSON"),
        ('{"question": "Q?"}', "line 3: answer: Field required"),
        (
            '{"question":"?","answer":"C","rubric":"R","passes":"yes","why":"W"}',
            "line 3: passes: Input should be a valid boolean",
        ),
        (
            '{"question":"Q?","answer":"A","rubric":"R","passes":false,"why":"W"}',
            "line 3: the same was labelled before",
        ),
    ],
)
def test_a_faulty_line_is_named(lines: Lines, line: str, fault: str) -> None:
    with pytest.raises(ValueError, match=f"^labels.jsonl, {fault}"):
        Labels.read(lines(line))


def test_files_are_read_as_one(lines: Lines) -> None:
    path = lines()
    other = path.with_name("more.jsonl")
    other.write_text(path.read_text("utf-8").replace("Q?", "Who?"), "utf-8")
    read = Labels.read(path, other)
    assert [case.question for case in read.cases] == ["Q?", "Q?", "Who?", "Who?"]
    assert read.digest not in {Labels.read(path).digest, Labels.read(other).digest}
    with pytest.raises(ValueError, match=r"^labels\.jsonl, line 1: the same was labelled before"):
        Labels.read(path, path)


def test_a_rubric_counts_with_an_answer_of_each_kind(lines: Lines) -> None:
    one = {"question": "Q?", "answer": "A", "rubric": "Half", "passes": True, "why": "W"}
    assert Labels.read(lines(json.dumps(one))).rubrics == {"R"}
    two = one | {"answer": "B", "passes": False}
    assert Labels.read(lines(json.dumps(one), json.dumps(two))).rubrics == {"R", "Half"}


def test_a_labelled_file_has_both_verdicts(lines: Lines) -> None:
    with pytest.raises(ValueError, match="needs answers that pass and answers that do not"):
        Labels.read(lines(both=False))
