import json
from pathlib import Path

import pytest

from evals.engine.baseline import Baseline, load, save
from evals.engine.results import Asked, Check, Outcome, Result, Run


def run(*, holds: bool) -> Run:
    return Run(output="42", checks=(Check(name="equal", holds=holds),), cost_usd=0.1)


RESULT = Result(
    name="chat",
    asked=Asked(model="offline", prompts={"chat/1": "abc"}, dataset="def"),
    outcomes=(
        Outcome(case="grüße", question="?", expected="42", runs=(run(holds=True),), slice="de"),
        Outcome(
            case="arms",
            question="?",
            expected="42",
            runs=(run(holds=True), run(holds=False)),
            must_pass=True,
        ),
    ),
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    assert save(RESULT, tmp_path / "baselines") == tmp_path / "baselines/chat.json"
    baseline = load("chat", tmp_path / "baselines")
    assert baseline == Baseline.of(RESULT)
    assert baseline.asked == RESULT.asked
    assert [(past.case, past.runs, past.rate, past.passed) for past in baseline.cases] == [
        ("arms", (True, False), 0.5, False),
        ("grüße", (True,), 1, True),
    ]


def test_it_says_who_judged_and_what_searched_and_older_ones_that_do_not_are_read(
    tmp_path: Path,
) -> None:
    said = {"judge": "openai:big 0a1b", "search": "offline:words"}
    asked = RESULT.asked.model_copy(update=said)
    save(RESULT.model_copy(update={"asked": asked}), tmp_path)
    loaded = load("chat", tmp_path)
    assert loaded
    assert loaded.asked == asked
    text = save(RESULT, tmp_path).read_text("utf-8")
    assert not {"judge", "search"} & json.loads(text)["asked"].keys()
    older = load("chat", tmp_path)
    assert older
    assert (older.asked.judge, older.asked.search) == (None, None)


def test_a_case_is_a_line_in_the_order_of_the_names(tmp_path: Path) -> None:
    text = save(RESULT, tmp_path).read_text("utf-8")
    assert json.loads(text)["asked"]["prompts"] == {"chat/1": "abc"}
    assert text.endswith(
        '"cases": [\n'
        '{"case": "arms", "slice": "all", "must_pass": true, "runs": [true, false]},\n'
        '{"case": "grüße", "slice": "de", "must_pass": false, "runs": [true]}\n'
        "]\n}\n"
    )


def test_a_baseline_replaces_the_one_before_and_leaves_nothing_else(tmp_path: Path) -> None:
    save(RESULT, tmp_path)
    shorter = RESULT.model_copy(update={"outcomes": RESULT.outcomes[:1]})
    path = save(shorter, tmp_path)
    assert load("chat", tmp_path) == Baseline.of(shorter)
    assert list(tmp_path.iterdir()) == [path]


def test_a_module_without_a_baseline_has_none(tmp_path: Path) -> None:
    assert load("chat", tmp_path) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<" * 7 + " HEAD", r"\(file: Invalid JSON"),
        ("\xff", r"\(file: Invalid JSON"),
        ('{"asked": {"model": "a", "dataset": "b"}, "cases": []}', r"\(cases: .* at least 1 item"),
        ('{"asked": {"model": "a"}, "cases": []}', r"\(asked.dataset: Field required"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "chat.json").write_text(text, "latin-1")
    with pytest.raises(ValueError, match=rf"chat\.json is no baseline {reason}.*save-baseline"):
        load("chat", tmp_path)
