from dataclasses import replace
from html import unescape

import pytest
from markdown_it import MarkdownIt

from evals.engine.reports import Header, Reported, markdown
from tests.evals.engine.reports import (
    FAILED,
    HEADER,
    HOSTILE,
    INCONCLUSIVE,
    PASSED,
    PLAIN,
    module,
    outcome,
    run,
)


def lines(*reports: Reported) -> list[str]:
    return markdown.render(reports, HEADER).splitlines()


@pytest.mark.parametrize(
    ("reports", "first"),
    [
        ([PASSED], "**✓ Evals passed.** Passed: chat."),
        (
            [PASSED, INCONCLUSIVE],
            "**? Evals are inconclusive.** Inconclusive: classify. Passed: chat.",
        ),
        (
            [PASSED, INCONCLUSIVE, FAILED],
            "**✗ Evals failed.** Failed: extract. Inconclusive: classify. Passed: chat.",
        ),
    ],
)
def test_the_first_line_is_the_verdict(reports: list[Reported], first: str) -> None:
    assert lines(*reports)[0] == first


def test_a_module_is_a_row() -> None:
    written = lines(FAILED, PASSED)
    changed = "1 newly failing, 1 newly passing"
    assert f"| extract | ✗ failed | 2/4 | 50 % (15 to 85 %) | {changed} | none |" in written
    assert "| chat | ✓ passed | 2/2 | 100 % (34.2 to 100 %) |  | none |" in written


def test_findings_are_bullets_and_the_worst_come_first() -> None:
    written = lines(PASSED, INCONCLUSIVE, FAILED)
    findings = [line for line in written if line[:4] in {"- ✗ ", "- ? ", "- · "}]
    assert findings[0] == f"- ✗ **extract**: {FAILED.ruling.findings[0].text}"
    assert findings[1] == f"- ? **classify**: {INCONCLUSIVE.ruling.findings[0].text}"
    assert findings[-1].startswith("- · **chat**: There is no baseline")


def test_cases_that_flipped_are_bullets() -> None:
    written = lines(FAILED, PASSED)
    flipped = [line for line in written if "newly" in line and line.startswith("- ")]
    assert flipped == [
        "- newly failing: **extract** broken",
        "- newly passing: **extract** mended",
    ]


def test_it_ends_with_what_was_asked_and_what_it_cost() -> None:
    costly = replace(HEADER, spent_usd=0.04125, baseline_cost_usd=1234)
    written = markdown.render([PASSED], costly)
    assert written.endswith(
        "\nAsked: openai:small · 2026-11-25 21:40 UTC"
        " · spent 0.0413 USD · the baseline cost 1,234.0000 USD\n"
    )
    free = markdown.render([PASSED], replace(HEADER, spent_usd=0))
    assert free.endswith("· spent 0.0000 USD\n")
    assert "USD" not in markdown.render([PASSED], HEADER)


def test_it_is_short_whatever_comes() -> None:
    cases = [outcome(f"c{number}", number % 2 == 0, must_pass=True) for number in range(40)]
    before = [f"c{number}" for number in range(1, 40, 2)]
    written = lines(*(module(*cases, before=before, name=f"m{number}") for number in range(40)))
    assert len(written) <= 60
    assert written.count("| … and 25 more | | | | | |") == 1
    assert "- … and 785 more" in written
    assert "- … and 1585 more" in written


def test_hostile_text_is_shown_as_it_is_on_one_line() -> None:
    wrong = outcome(HOSTILE, runs=(run(passes=False, reason=HOSTILE),), must_pass=True)
    hostile = module(wrong, before=[HOSTILE], name=HOSTILE)
    written = markdown.render([hostile], Header(HOSTILE, HOSTILE))
    shown = MarkdownIt().enable("table").render(written)
    plain = " ".join(PLAIN.split())
    tags = {"<script", "<a", "<img", "<code", "<em", "<pre"}
    assert {tag for tag in tags if tag in shown} == set()
    assert unescape(shown).count(plain) >= 6
    assert f"<td>{plain}</td>" in unescape(shown)
    # What is made a link of without any mark.
    assert "://" not in written
    assert "www." not in written
