"""A summary in Markdown, for the page of a CI run.

It is short whatever comes: the rest is in the page that `html.py` makes.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from evals.engine.reports import (
    COLUMNS,
    FINDINGS,
    SIGNS,
    WORDS,
    Header,
    Reported,
    by_verdict,
    headline,
    on_one_line,
    overall,
)

# How many lines there are of modules, of findings, and of cases that flipped.
_MOST: Final = 15
# What makes Markdown, HTML, a link, a formula or a mention within a line.
_MARKS: Final = re.compile(r"[\\`*_\[\]<>&|~$@]|:(?=//)|(?<=www)\.", re.IGNORECASE)


def render(reports: Sequence[Reported], header: Header) -> str:
    """Return the summary, of at most about 60 lines."""
    lines = [
        f"**{SIGNS[overall(reports)]} {headline(reports)}.** {_text(by_verdict(reports))}",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{' --- |' * len(COLUMNS)}",
        *_some([_row(each) for each in reports], f"| … and {{}} more{' |' * len(COLUMNS)}"),
        "",
        *_some(list(_findings(reports)), "- … and {} more"),
        "",
        *_some(list(_flipped(reports)), "- … and {} more"),
        "",
        _text(f"Asked: {header.line}"),
    ]
    return "\n".join(lines) + "\n"


def _row(reported: Reported) -> str:
    verdict = reported.ruling.verdict
    cells = [_text(reported.ruling.name), f"{SIGNS[verdict]} {WORDS[verdict]}", *reported.numbers]
    return f"| {' | '.join(cells)} |"


def _findings(reports: Sequence[Reported]) -> Iterator[str]:
    """Give the findings, the worst first."""
    for verdict in FINDINGS:
        for each in reports:
            for finding in each.ruling.findings:
                if finding.verdict == verdict:
                    name = _text(each.ruling.name)
                    yield f"- {FINDINGS[verdict]} **{name}**: {_text(finding.text)}"


def _flipped(reports: Sequence[Reported]) -> Iterator[str]:
    for each in reports:
        for outcome in each.newly_failing:
            yield f"- newly failing: **{_text(each.ruling.name)}** {_text(outcome.case)}"
    for each in reports:
        for outcome in each.newly_passing:
            yield f"- newly passing: **{_text(each.ruling.name)}** {_text(outcome.case)}"


def _some(lines: list[str], rest: str) -> list[str]:
    left = len(lines) - _MOST
    return [*lines[:_MOST], rest.format(left)] if left > 0 else lines


def _text(text: str) -> str:
    """Return the text for a line or a cell, which shows it as it is."""
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", on_one_line(text))
