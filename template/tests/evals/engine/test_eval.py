"""Cases as they are read from a file, and what an editor is told of them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic_evals import Dataset

from app.resources import Resources
from evals.engine.eval import About, Eval
from evals.evaluators.limits import Within

CASES = """
cases:
- name: one
  inputs: What?
  expected_output: That.
  metadata: {slice: short, must_pass: true}
"""


async def ask(resources: Resources, question: str) -> str:
    return question


EVAL = Eval(
    dataset=Dataset[str, str, About],
    ask=ask,
    asked=lambda resources: ("m", {}),
    evaluators=[Within(seconds=1)],
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "questions.yaml"


def test_cases_are_read_with_what_they_say_of_themselves(path: Path) -> None:
    path.write_text(CASES)
    dataset = EVAL.load(path)
    [case] = dataset.cases
    assert (case.name, case.inputs, case.expected_output) == ("one", "What?", "That.")
    assert case.metadata == About(slice="short", must_pass=True)
    assert [type(one) for one in dataset.evaluators] == [Within]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cases: [", ", line 1: expected the node content, but found '<stream end>'."),
        ("cases:\n- inputs: What?\n", " has 1 cases without a name: name each."),
        ("cases: []\n", " has no cases."),
        ("", ": it has to be names with values."),
        ("case: []\n", ": cases is missing."),
        ("cases:\n- name: a\n  inputs: b\n  slice: c\n", ", case 'a': slice is no known field."),
        ("cases:\n- name: a\n", ", case 'a': inputs is missing."),
        ("cases:\n- name: a\n  inputs: [b]\n", ", case 'a': inputs has to be a text: quote it."),
        (
            "cases:\n- name: a\n  inputs: b\n  metadata: {must_pass: maybe}\n",
            ", case 'a': metadata.must_pass has to be true or false.",
        ),
        ("cases:\n- inputs: 42\n", ", case number 1: inputs has to be a text: quote it."),
        (
            "cases:\n- name: a\n  inputs: b\n  evaluators: [Other]\n",
            " names an evaluator: put it into evals/questions.py instead.",
        ),
        (
            "cases:\n- name: a\n  inputs: b\n- name: a\n  inputs: c\n",
            " cannot be read: Duplicate case name: 'a'.",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_which_case_and_why(
    path: Path, text: str, said: str
) -> None:
    path.write_text(text)
    with pytest.raises(ValueError, match=r"questions\.yaml") as refused:
        EVAL.load(path)
    assert str(refused.value) == f"{path}{said}"


@pytest.mark.parametrize("floor", [75, -0.1, float("nan")])
def test_a_floor_that_is_no_share_is_refused(path: Path, floor: float) -> None:
    path.write_text(CASES)
    with pytest.raises(ValueError, match=r"the floor of short is .*, and has to be from 0 to 1\."):
        replace(EVAL, floors={"all": 1, "short": floor}).load(path)


def test_a_file_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(ValueError, match=r"questions\.yaml cannot be read"):
        EVAL.load(path)


def test_an_editor_is_told_of_the_cases_and_of_nothing_that_stands_in_code() -> None:
    schema = json.loads(EVAL.schema())
    assert schema["$defs"].keys() == {"About", "Case"}
    assert schema["$defs"]["Case"]["properties"].keys() == {
        *("name", "inputs", "metadata", "expected_output")
    }
