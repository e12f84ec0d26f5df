"""A page for people: one file that asks for nothing else, and runs no script.

What a model wrote is escaped, and a policy in the page forbids scripts besides.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from evals.engine.gate import percent
from evals.engine.reports import (
    SIGNS,
    WORDS,
    Header,
    Reported,
    by_verdict,
    clipped,
    headline,
    interval,
    overall,
)
from evals.engine.results import Outcome, Run

# Of a longer text the beginning is shown: hundreds of cases stay a file that opens at once.
_LONGEST: Final = 2_000


@dataclass(frozen=True)
class Complaint:
    """A check that does not hold in some runs of a case, and why."""

    check: str
    advisory: bool
    runs: int
    reasons: list[str]


@dataclass(frozen=True)
class Case:
    outcome: Outcome
    complaints: list[Complaint]

    @property
    def passed(self) -> int:
        return sum(run.passed for run in self.outcome.runs)

    @property
    def output(self) -> str:
        """The output of the first run that failed, and else of the first."""
        return min(self.outcome.runs, key=lambda run: run.passed).output


@dataclass(frozen=True)
class Group:
    title: str
    cases: list[Case]
    folded: bool = False


@dataclass(frozen=True)
class Module:
    reported: Reported
    groups: list[Group]
    facts: list[tuple[str, str]]


def render(reports: Sequence[Reported], header: Header) -> str:
    """Return the page."""
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(Path(__file__).parent),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "cell": _cell,
        "clipped": partial(clipped, longest=_LONGEST),
        "interval": interval,
        "percent": percent,
        "place": lambda rate: format(rate, ".1%"),
    }
    return environment.get_template("report.html.j2").render(
        by_verdict=by_verdict(reports),
        header=header,
        headline=headline(reports),
        modules=[Module(each, list(_groups(each)), list(_facts(each))) for each in reports],
        signs=SIGNS,
        verdict=overall(reports),
        words=WORDS,
    )


def _groups(reported: Reported) -> Iterator[Group]:
    """Give the cases, in groups that are not empty: what to look at first comes first."""
    flipped = reported.ruling.flipped
    rest = [each for each in reported.result.outcomes if each.case not in flipped]
    failing = sorted(
        (each for each in rest if not each.passed),
        key=lambda each: (not each.must_pass, each.rate),
    )
    groups = {
        "Newly failing": reported.newly_failing,
        "Newly passing": reported.newly_passing,
        "Failing": failing,
        "Passing": [each for each in rest if each.passed],
    }
    for title, outcomes in groups.items():
        if outcomes:
            cases = [Case(each, list(_complaints(each))) for each in outcomes]
            yield Group(title, cases, folded=title == "Passing")


def _complaints(outcome: Outcome) -> Iterator[Complaint]:
    failed = [check for run in outcome.runs for check in run.checks if not check.holds]
    for name, advisory in dict.fromkeys((check.name, check.advisory) for check in failed):
        alike = [check for check in failed if (check.name, check.advisory) == (name, advisory)]
        reasons = dict.fromkeys(check.reason or "No reason is given." for check in alike)
        yield Complaint(name, advisory, len(alike), list(reasons))


def _facts(reported: Reported) -> Iterator[tuple[str, str]]:
    """Give the numbers of a module beside its rate."""
    result = reported.result
    runs = [run for outcome in result.outcomes for run in outcome.runs]
    for name, mean in result.scores.items():
        yield name, f"{mean:.3f}"
    yield "Detectable drop", reported.detectable_drop
    yield "Latency p50", _latency(runs, 0.5)
    yield "Latency p95", _latency(runs, 0.95)
    yield "Input tokens", f"{sum(run.input_tokens for run in runs):,}"
    yield "Output tokens", f"{sum(run.output_tokens for run in runs):,}"
    yield "Cost", "not known" if result.cost_usd is None else f"{result.cost_usd:,.4f} USD"


def _latency(runs: Sequence[Run], quantile: float) -> str:
    """Return the latency that this share of the runs does not exceed (nearest rank)."""
    seconds = sorted(run.seconds for run in runs if not run.cached)
    if not seconds:
        return "not measured: the answers are kept ones"
    return f"{seconds[math.ceil(quantile * len(seconds)) - 1] * 1000:,.0f} ms"


def _cell(value: object) -> str:
    """Return what a table's cell shows: nothing for None."""
    return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)
