import json
from collections.abc import Mapping, Sequence

import pytest

from evals.engine.baseline import Baseline
from evals.engine.gate import Ruling, exit_code, judge, percent, summary
from evals.engine.results import Asked, Check, Outcome, Result, Run, Verdict

ASKED = Asked(model="offline", prompts={"chat/1": "abc"}, dataset="def")
# Runs of a case, a letter each: + passed, - failed.
Runs = str


def outcome(case: str, runs: Runs, *, slice: str = "all", must_pass: bool = False) -> Outcome:
    checks = [
        (Check(name="equal", holds=run == "+", reason=None if run == "+" else "41, not 42"),)
        for run in runs
    ]
    return Outcome(
        case=case,
        question="?",
        expected="42",
        runs=tuple(Run(output="", checks=each) for each in checks),
        slice=slice,
        must_pass=must_pass,
    )


def result(
    cases: Sequence[Runs] = (),
    *,
    outcomes: Sequence[Outcome] = (),
    asked: Asked = ASKED,
    floors: Mapping[str, float] | None = None,
) -> Result:
    """Return a result of cases named 0, 1, … and of `outcomes`."""
    numbered = [outcome(str(number), runs) for number, runs in enumerate(cases)]
    return Result(
        name="chat", asked=asked, outcomes=(*numbered, *outcomes), floors=dict(floors or {})
    )


def against(before: Sequence[Runs], after: Sequence[Runs], *, effect: float = 0.02) -> Ruling:
    return judge(result(after), Baseline.of(result(before)), minimum_effect=effect)


def texts(ruling: Ruling, verdict: Verdict) -> list[str]:
    return [finding.text for finding in ruling.findings if finding.verdict == verdict]


def test_without_a_baseline_the_ruling_says_how_to_make_one() -> None:
    ruling = judge(result("+++-"), None)
    assert (ruling.verdict, ruling.cases, ruling.passed, ruling.rate) == ("pass", 4, 3, 0.75)
    assert ruling.low < 0.75 < ruling.high
    assert texts(ruling, "pass") == [
        "There is no baseline to compare with. `poe eval --save-baseline` makes one."
    ]


def test_a_case_passes_by_all_its_runs_and_the_rate_is_of_all_runs() -> None:
    ruling = judge(result(["++", "+-"] * 20), None)
    assert (ruling.passed, ruling.rate) == (20, 0.75)
    # The interval of single runs would be wider.
    assert ruling.low > judge(result("+++-" * 10), None).low


def test_a_case_that_must_pass_fails_by_one_run() -> None:
    ruling = judge(
        result(
            "+" * 99, outcomes=[outcome("Zürich", "+-+", must_pass=True), outcome("Bern", "---")]
        ),
        None,
    )
    assert ruling.verdict == "fail"
    assert texts(ruling, "fail") == [
        "Zürich must pass, and failed 1 of 3 runs: equal (41, not 42). Mend what broke it."
    ]


def test_why_a_case_fails_does_not_count_what_is_advisory() -> None:
    checks = [
        Check(name=name, holds=False, advisory=name == "judge") for name in ("judge", "equal")
    ]
    strict = outcome("Bern", "-", must_pass=True)
    run = Run(output="", checks=tuple(checks))
    ruling = judge(result(outcomes=[strict.model_copy(update={"runs": (run,)})]), None)
    assert "1 of 1 runs: equal. Mend" in texts(ruling, "fail")[0]


@pytest.mark.parametrize(
    ("passed", "cases", "verdict"),
    [(27, 30, "pass"), (26, 30, "inconclusive"), (20, 30, "fail"), (3, 3, "pass")],
)
def test_a_floor_fails_only_what_is_surely_below_it(
    passed: int, cases: int, verdict: Verdict
) -> None:
    runs = "+" * passed + "-" * (cases - passed)
    assert judge(result(runs, floors={"all": 0.9}), None).verdict == verdict


def test_a_finding_of_a_floor_says_how_much_is_missing_and_what_to_do() -> None:
    ruling = judge(result("+" * 26 + "-" * 4, floors={"all": 0.9}), None)
    assert texts(ruling, "inconclusive") == [
        "All cases: the rate of 86.7 % is below the floor of 90 % (95 % interval 70.3 % to 94.7 %,"
        " 30 cases). 30 cases are too few to tell: add cases."
    ]


def test_each_slice_has_its_own_floor() -> None:
    german = [outcome(f"de {number}", "-", slice="de") for number in range(9)]
    ruling = judge(result("+" * 91, outcomes=german, floors={"de": 0.5, "all": 0.9}), None)
    every, slice_de = ruling.slices
    assert (every.name, every.cases, every.passed, every.verdict) == ("all", 100, 91, "pass")
    assert (slice_de.name, slice_de.cases, slice_de.rate, slice_de.floor) == ("de", 9, 0, 0.5)
    assert slice_de.verdict == ruling.verdict == "fail"
    assert [text.partition(":")[0] for text in texts(ruling, "fail")] == ["Slice de"]


def test_a_slice_without_a_floor_is_counted_and_passes() -> None:
    ruling = judge(result("+", outcomes=[outcome("x", "-", slice="de")]), None)
    assert [(each.name, each.cases, each.floor) for each in ruling.slices] == [
        ("all", 2, None),
        ("de", 1, None),
    ]
    assert ruling.verdict == "pass"


def test_a_floor_of_a_slice_that_no_case_has_is_an_error() -> None:
    mixed = result("+", outcomes=[outcome("x", "+", slice="de")], floors={"dee": 0.5, "de": 0.5})
    with pytest.raises(ValueError, match=r"chat has a floor for dee, .* there are all, de\."):
        judge(mixed, None)


def test_the_same_outcomes_as_before_find_nothing() -> None:
    ruling = against("+" * 27 + "-" * 3, "+" * 27 + "-" * 3)
    assert (ruling.verdict, ruling.findings, ruling.flipped) == ("pass", (), ())
    assert ruling.detectable_drop == pytest.approx(0.27, abs=0.005)


def test_a_significant_drop_fails() -> None:
    ruling = against("+" * 90 + "-" * 10, "+" * 75 + "-" * 25)
    assert ruling.verdict == "fail"
    assert texts(ruling, "fail") == [
        "The rate of the 100 cases that the baseline has too fell by 15 points, from 90 % to 75 %"
        " (p = 1.5e-05). Mend the newly failing cases, or save a new baseline where this is meant."
    ]


def test_a_drop_that_chance_explains_is_inconclusive() -> None:
    ruling = against("+" * 27 + "-" * 3, "+" * 26 + "-" * 4)
    assert ruling.verdict == "inconclusive"
    assert texts(ruling, "inconclusive") == [
        "The rate of the 30 cases that the baseline has too fell by 3.33 points, from 90 % to"
        " 86.7 % (p = 0.25). Chance may explain it: so many cases show a drop of 27.1 points 4"
        " times in 5. Add cases, or repeat them."
    ]


def test_cases_too_few_to_show_a_drop_say_so() -> None:
    ruling = against("+++", "---")
    assert ruling.verdict == "inconclusive"
    assert ruling.detectable_drop is None
    assert "so many cases show no drop." in texts(ruling, "inconclusive")[0]


@pytest.mark.parametrize(("effect", "verdict"), [(0.05, "fail"), (0.051, "pass")])
def test_a_drop_below_the_minimum_effect_is_nothing(effect: float, verdict: Verdict) -> None:
    assert against("+" * 100, "+" * 95 + "-" * 5, effect=effect).verdict == verdict


def test_a_rise_is_nothing() -> None:
    assert against("-" * 30, "+" * 30).verdict == "pass"


def test_runs_that_fail_more_often_are_a_drop_though_no_more_cases_fail() -> None:
    ruling = against(["++-"] * 30, ["+--"] * 30)
    assert (ruling.verdict, ruling.flipped) == ("fail", ())


def test_flipped_cases_come_newly_failing_first() -> None:
    assert against("-+-++", "++--+").flipped == ("3", "0")


def test_only_cases_that_both_have_are_compared() -> None:
    new = [outcome(f"new {number}", "-") for number in range(50)]
    asked = ASKED.model_copy(update={"dataset": "other"})
    ruling = judge(result("+" * 20, outcomes=new, asked=asked), Baseline.of(result("+" * 22)))
    assert (ruling.verdict, ruling.cases, ruling.passed, ruling.flipped) == ("pass", 70, 20, ())
    assert texts(ruling, "pass") == [
        "The dataset is not the baseline's: 20 cases are compared, though their text may differ;"
        " 50 are new, and 2 are gone. `poe eval --save-baseline` makes a new baseline."
    ]


def test_a_baseline_of_other_cases_is_inconclusive() -> None:
    ruling = judge(result(outcomes=[outcome("new", "+")]), Baseline.of(result("+")))
    assert ruling.verdict == "inconclusive"
    assert "0 cases are compared" in texts(ruling, "inconclusive")[0]


def test_another_model_and_other_prompts_are_named_and_compared_all_the_same() -> None:
    asked = Asked(model="openai:gpt-6-luna", prompts={"chat/2": "abc"}, dataset="def")
    ruling = judge(result("-" * 30, asked=asked), Baseline.of(result("+" * 30)))
    assert ruling.verdict == "fail"
    assert texts(ruling, "pass") == [
        "The baseline's model is offline, and this one's openai:gpt-6-luna.",
        "These prompts are not the baseline's: chat/1, chat/2.",
    ]


def test_another_search_is_named_and_compared_all_the_same() -> None:
    before = result("+" * 30, asked=ASKED.model_copy(update={"search": "offline:words"}))
    after = result("-" * 30, asked=ASKED.model_copy(update={"search": "openai:small"}))
    ruling = judge(after, Baseline.of(before))
    assert ruling.verdict == "fail"
    assert texts(ruling, "pass") == [
        "The baseline searched with offline:words, and this run with openai:small."
    ]
    # Older baselines do not say.
    assert texts(judge(after, Baseline.of(result("+" * 30))), "pass") == []


@pytest.mark.parametrize("chance", [True, False])
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (None, "openai:big 0a1b", "judge is none, and this one's openai:big 0a1b:"),
        ("openai:big 0a1b", None, "judge is openai:big 0a1b, and this one's none:"),
        ("openai:big 0a1b", "openai:big 2c3d", "this one's openai:big 2c3d:"),
    ],
)
def test_what_another_judge_says_is_not_compared(
    old: str | None, new: str | None, said: str, chance: bool
) -> None:
    before = result("+" * 30, asked=ASKED.model_copy(update={"judge": old}))
    after = result("-" * 30, asked=ASKED.model_copy(update={"judge": new}))
    ruling = judge(after.model_copy(update={"chance": chance}), Baseline.of(before))
    assert (ruling.verdict, ruling.flipped) == ("inconclusive", ())
    [text] = [finding.text for finding in ruling.findings]
    assert said in text
    assert "such rates cannot be compared" in text


def test_what_the_same_judge_says_is_compared() -> None:
    asked = ASKED.model_copy(update={"judge": "openai:big 0a1b"})
    ruling = judge(result("-" * 30, asked=asked), Baseline.of(result("+" * 30, asked=asked)))
    assert ruling.verdict == "fail"


def test_a_rate_that_only_rounding_keeps_from_0_is_0() -> None:
    assert percent(3e-17) == "0 %"
    assert percent(0.00012) == "0.012 %"


def test_only_a_failure_sets_the_exit_code() -> None:
    good, unsure, bad = against("+", "+"), against("+", "-"), against("+" * 9, "-" * 9)
    assert [each.verdict for each in (good, unsure, bad)] == ["pass", "inconclusive", "fail"]
    assert [exit_code(rulings) for rulings in ([], [good, unsure], [unsure, bad])] == [0, 0, 1]


def test_the_summary_is_the_worst_verdict_and_the_modules() -> None:
    found = summary([against("+" * 9, "-" * 9), against("+", "-")])
    assert found.keys() == {"verdict", "modules"}
    assert found["verdict"] == "fail"
    module = json.loads(json.dumps(found))["modules"][1]
    assert module["low"] == pytest.approx(0, abs=1e-9)
    assert (module["name"], module["cases"], module["passed"], module["rate"]) == ("chat", 1, 0, 0)
    assert (module["verdict"], module["flipped"]) == ("inconclusive", ["0"])
    assert 0 < module["high"] < 1
    assert summary([]) == {"verdict": "pass", "modules": []}


def test_without_chance_each_case_that_fails_now_fails_the_gate() -> None:
    before, after = result("+" * 30), result("+" * 29 + "-")
    assert judge(after, Baseline.of(before)).verdict == "inconclusive"
    ruling = judge(after.model_copy(update={"chance": False}), Baseline.of(before))
    assert texts(ruling, "fail") == [
        "1 of 30 cases fail now, and nothing was left to chance: 29. Mend them, or save a new"
        " baseline where this is meant."
    ]
    same = before.model_copy(update={"chance": False})
    assert judge(same, Baseline.of(before)).verdict == "pass"


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "not marked"])
def test_a_case_that_had_to_pass_cannot_be_taken_away(gone: bool) -> None:
    before = result("++", outcomes=[outcome("vital", "+", must_pass=True)])
    after = result("++", outcomes=[] if gone else [outcome("vital", "+")])
    [said] = texts(judge(after, Baseline.of(before)), "fail")
    assert said.startswith("vital had to pass, and is gone or not marked any more.")


def test_a_baseline_with_other_runs_a_case_is_too_little_to_fail_by() -> None:
    before, after = result(["+"] * 30), result(["---"] * 30)
    ruling = judge(after, Baseline.of(before))
    assert ruling.verdict == "inconclusive"
    [said] = texts(ruling, "inconclusive")
    assert "save a baseline with as many runs a case" in said


def test_what_is_not_reviewed_is_listed_and_fails_nothing() -> None:
    waiting = result(["+"]).model_copy(update={"unreviewed": tuple("abcdef")})
    ruling = judge(waiting, None)
    assert ruling.verdict == "pass"
    (said,) = [said for said in texts(ruling, "pass") if "reviewed" in said]
    assert said.startswith("6 cases are not reviewed, and were not asked: a, b, c, d, e …")
