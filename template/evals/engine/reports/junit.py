"""JUnit's XML, which CI servers show: a suite for each module, a test case for each case.

What only all cases together show, such as a floor that is not reached, is a test case of its own:
`gate`. A case that need not pass and is not newly failing is skipped: a green gate shows no red.
"""

from collections.abc import Sequence
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from evals.engine.reports import Reported, clipped, on_one_line, printable
from evals.engine.results import Outcome

_LONGEST: Final = 2_000


def write(reports: Sequence[Reported]) -> str:
    """Return the XML."""
    suites = Element("testsuites", name="evals")
    suites.extend(_suite(each) for each in reports)
    _count(suites)
    indent(suites)
    text = tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _suite(reported: Reported) -> Element:
    name = on_one_line(f"evals.{reported.ruling.name}")
    suite = Element("testsuite", name=name)
    suite.append(_gate(reported, name))
    flipped = reported.ruling.flipped
    suite.extend(
        _case(each, name, fails=each.must_pass or each.case in flipped)
        for each in reported.result.outcomes
    )
    _count(suite)
    return suite


def _count(suite: Element) -> None:
    cases = list(suite.iter("testcase"))
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(len(list(suite.iter("failure")))))
    suite.set("skipped", str(len(list(suite.iter("skipped")))))
    suite.set("errors", "0")
    suite.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.3f}")


def _gate(reported: Reported, suite: str) -> Element:
    """Say whether the module passed; what is inconclusive is skipped, for it stops nobody."""
    ruling = reported.ruling
    case = Element("testcase", classname=suite, name="gate", time="0.000")
    if ruling.verdict != "pass":
        texts = [finding.text for finding in ruling.findings if finding.verdict == ruling.verdict]
        _explain(case, "failure" if ruling.verdict == "fail" else "skipped", texts)
    return case


def _case(outcome: Outcome, suite: str, *, fails: bool) -> Element:
    """Write a case; one that did not pass `fails`, or else it is skipped."""
    seconds = sum(run.seconds for run in outcome.runs)
    name = on_one_line(outcome.case)
    case = Element("testcase", classname=suite, name=name, time=f"{seconds:.3f}")
    if not outcome.passed:
        reasons = list(dict.fromkeys(_reasons(outcome)))
        if fails:
            _explain(case, "failure", reasons)
        else:
            _explain(case, "skipped", [f"known failure: {reason}" for reason in reasons])
        output = next(run.output for run in outcome.runs if not run.passed)
        shown = {"Question": outcome.question, "Expected": outcome.expected, "Output": output}
        texts = [f"{label}: {clipped(text, _LONGEST)}" for label, text in shown.items()]
        SubElement(case, "system-out").text = printable("\n\n".join(texts))
    return case


def _reasons(outcome: Outcome) -> list[str]:
    checks = [check for run in outcome.runs for check in run.checks]
    return [
        f"{check.name}: {clipped(check.reason or 'no reason is given', _LONGEST)}"
        for check in checks
        if not (check.holds or check.advisory)
    ]


def _explain(case: Element, kind: str, texts: Sequence[str]) -> None:
    told = SubElement(case, kind, message=on_one_line(texts[0]))
    told.text = printable("\n".join(texts))
