from xml.etree.ElementTree import Element, fromstring

import pytest

from evals.engine.reports import Reported, junit
from tests.evals.engine.reports import (
    FAILED,
    HOSTILE,
    INCONCLUSIVE,
    PASSED,
    PLAIN,
    module,
    outcome,
    run,
)


def parsed(*reports: Reported) -> Element:
    return fromstring(junit.write(reports))  # noqa: S314 (our own)


def case(root: Element, name: str) -> Element:
    found = root.find(f".//testcase[@name='{name}']")
    assert found is not None
    return found


def test_a_module_is_a_suite_and_a_case_a_test_case() -> None:
    root = parsed(PASSED, FAILED)
    assert [suite.get("name") for suite in root] == ["evals.chat", "evals.extract"]
    names = [(each.get("classname"), each.get("name")) for each in root[0]]
    assert names == [("evals.chat", each) for each in ("gate", "first", "second")]


def test_suites_count_what_they_hold() -> None:
    root = parsed(PASSED, FAILED, INCONCLUSIVE)
    counts = [[each.get(name) for name in ("tests", "failures", "skipped")] for each in root]
    assert counts == [["3", "0", "0"], ["5", "3", "0"], ["3", "0", "2"]]
    assert [root.get(name) for name in ("tests", "failures", "skipped")] == ["11", "3", "2"]


def test_a_failing_case_says_which_checks_failed_and_what_was_said() -> None:
    runs = [run(passes=False, reason=reason) for reason in ("too long", "too long", "too short")]
    strict = outcome("c", runs=[run(), *runs], question="why?", must_pass=True)
    found = case(parsed(module(strict)), "c")
    failure = found.find("failure")
    assert failure is not None
    assert failure.get("message") == "equals: too long"
    assert failure.text == "equals: too long\nequals: too short"
    assert found.findtext("system-out") == "Question: why?\n\nExpected: expect\n\nOutput: out"


def test_an_advisory_check_is_no_reason() -> None:
    checks = [
        {"name": "judge", "holds": False, "reason": "Rude.", "advisory": True},
        {"name": "equals", "holds": False, "reason": "It is 7."},
    ]
    found = case(parsed(module(outcome("c", runs=(run(checks=checks),), must_pass=True))), "c")
    assert found.findtext("failure") == "equals: It is 7."


@pytest.mark.parametrize("reason", [None, ""])
def test_a_check_without_a_reason_is_named(reason: str | None) -> None:
    strict = outcome("c", runs=(run(passes=False, reason=reason),), must_pass=True)
    found = case(parsed(module(strict)), "c")
    assert found.findtext("failure") == "equals: no reason is given"


def test_a_case_takes_the_time_of_its_runs() -> None:
    root = parsed(module(outcome("c", runs=(run(seconds=1.5), run(seconds=0.25)))))
    assert case(root, "c").get("time") == "1.750"
    assert root.get("time") == "1.750"


def test_a_floor_that_is_not_reached_fails_the_gate() -> None:
    cases = [outcome(f"c{number}", number < 5) for number in range(20)]
    reported = module(*cases, floors={"all": 0.9}, before=[f"c{number}" for number in range(5)])
    assert reported.ruling.flipped == ()
    failure = case(parsed(reported), "gate").find("failure")
    assert failure is not None
    (below,) = reported.ruling.findings
    assert (failure.get("message"), failure.text) == (below.text, below.text)


def test_a_gate_that_fails_tells_only_what_it_fails_for() -> None:
    findings = FAILED.ruling.findings
    assert {finding.verdict for finding in findings} == {"fail", "inconclusive"}
    told = [finding.text for finding in findings if finding.verdict == "fail"]
    assert case(parsed(FAILED), "gate").findtext("failure") == "\n".join(told)


def test_a_case_that_fails_as_before_is_skipped_for_the_gate_is_green() -> None:
    root = parsed(module(outcome("right", True), outcome("wrong", False), before=["right"]))
    assert list(case(root, "gate")) == []
    wrong = case(root, "wrong")
    assert wrong.findtext("skipped") == "known failure: equals: it is wrong"
    assert wrong.findtext("system-out") == "Question: ask\n\nExpected: expect\n\nOutput: out"
    assert root.get("failures") == "0"


@pytest.mark.parametrize(("before", "must_pass"), [(["c"], False), ([], True)])
def test_a_case_that_is_newly_failing_or_must_pass_fails(
    before: list[str], must_pass: bool
) -> None:
    root = parsed(module(outcome("c", False, must_pass=must_pass), before=before))
    assert case(root, "c").findtext("failure") == "equals: it is wrong"


def test_a_gate_that_is_inconclusive_is_skipped() -> None:
    skipped = case(parsed(INCONCLUSIVE), "gate").find("skipped")
    assert skipped is not None
    assert skipped.get("message") == INCONCLUSIVE.ruling.findings[0].text


def test_hostile_text_is_text_and_what_xml_cannot_hold_is_left_out() -> None:
    wrong = run(passes=False, reason=HOSTILE, output=f"\0{HOSTILE}\ufffe]]>")
    reported = module(
        outcome(f"a\x1b{HOSTILE}", runs=(wrong,), question=HOSTILE, expected=HOSTILE), name="<a>"
    )
    root = parsed(reported)
    assert {each.tag for each in root.iter()} == {
        "testsuites",
        "testsuite",
        "testcase",
        "skipped",
        "system-out",
    }
    assert root.findtext(".//skipped") == f"known failure: equals: {PLAIN}"
    assert (root.findtext(".//system-out") or "").endswith(f"Output: {PLAIN}]]>")
    assert root[0].get("name") == "evals.<a>"


def test_three_hundred_failing_cases_stay_small() -> None:
    runs = (run(passes=False, reason="r" * 10_000, output="o" * 10_000),)
    text = junit.write([module(*(outcome(f"c{number}", runs=runs) for number in range(300)))])
    assert len(text) < 2_000_000
    assert "(8,000 more characters)" in text
