"""The modules as a table in the terminal, and below it what was found."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

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
from evals.engine.results import Verdict

_STYLES: Final[dict[Verdict, str]] = {"fail": "red", "inconclusive": "yellow", "pass": "green"}


def show(reports: Sequence[Reported], console: Console, header: Header) -> None:
    """Print the table, the cases that flipped, the findings, and last the verdict."""
    console.print(_table(reports))
    for each in reports:
        name = each.ruling.name
        for outcome in each.newly_failing:
            console.print(_line("fail", f"{name}: {outcome.case} is newly failing"))
        for outcome in each.newly_passing:
            console.print(_line("pass", f"{name}: {outcome.case} is newly passing"))
        for finding in each.ruling.findings:
            console.print(_line(finding.verdict, f"{name}: {finding.text}", FINDINGS))
    console.print(Text(on_one_line(header.line), "dim"))
    console.print(_line(overall(reports), f"{headline(reports)}. {by_verdict(reports)}"))


def _table(reports: Sequence[Reported]) -> Table:
    table = Table(*COLUMNS, box=None)
    # The others wrap where a terminal is narrow.
    for column in table.columns[:3]:
        column.no_wrap = True
    for each in reports:
        verdict = each.ruling.verdict
        name = Text(on_one_line(each.ruling.name))
        table.add_row(name, _line(verdict, WORDS[verdict]), *each.numbers)
    return table


def _line(verdict: Verdict, text: str, signs: Mapping[Verdict, str] = SIGNS) -> Text:
    """Put the sign before a text that is no markup."""
    return Text.assemble((signs[verdict], _STYLES[verdict]), " ", on_one_line(text))
