"""Reports of the evals: a page and a table for people, a summary and JUnit's XML for CI.

Names, questions and outputs are not trusted, for a model wrote some of them: each report escapes
them in its own way. What all reports say in the same words is here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from evals.engine.gate import Ruling, Share, percent, worst
from evals.engine.results import Outcome, Result, Verdict

# A colour never stands without a sign and a word.
SIGNS: Final[dict[Verdict, str]] = {"fail": "✗", "inconclusive": "?", "pass": "✓"}
WORDS: Final[dict[Verdict, str]] = {
    "fail": "failed",
    "inconclusive": "inconclusive",
    "pass": "passed",
}
# A finding that does not keep a module from passing is a note.
FINDINGS: Final[dict[Verdict, str]] = {**SIGNS, "pass": "·"}
# Of the modules' table, in Markdown and in the terminal.
COLUMNS: Final = (
    "module",
    "verdict",
    "passed",
    "rate (95 % interval)",
    "against the baseline",
    "detectable drop",
)
# A terminal obeys these, and XML cannot hold them. Tabs and new lines stay.
_CONTROLS: Final = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Header:
    """What a report says of the run as a whole."""

    model: str
    when: str
    # What new answers cost, and what the baseline did, where that is known.
    spent_usd: float | None = None
    baseline_cost_usd: float | None = None

    @property
    def line(self) -> str:
        known = {"spent": self.spent_usd, "the baseline cost": self.baseline_cost_usd}
        costs = [f"{what} {usd:,.4f} USD" for what, usd in known.items() if usd is not None]
        return " · ".join([self.model, self.when, *costs])


@dataclass(frozen=True)
class Reported:
    """A module's result, and what the gate says of it."""

    result: Result
    ruling: Ruling

    @property
    def newly_failing(self) -> list[Outcome]:
        """The cases that the baseline has as passed."""
        return [each for each in self._flipped if not each.passed]

    @property
    def newly_passing(self) -> list[Outcome]:
        """The cases that the baseline has as failed."""
        return [each for each in self._flipped if each.passed]

    @property
    def change(self) -> str:
        """How many cases differ from the baseline, in words."""
        counts = {"failing": len(self.newly_failing), "passing": len(self.newly_passing)}
        return ", ".join(f"{count} newly {what}" for what, count in counts.items() if count)

    @property
    def detectable_drop(self) -> str:
        drop = self.ruling.detectable_drop
        return "none" if drop is None else f"{100 * drop:.3g} points"

    @property
    def numbers(self) -> list[str]:
        """What stands in the columns behind the verdict."""
        ruling = self.ruling
        rate = f"{percent(ruling.rate)} ({interval(ruling)})"
        return [f"{ruling.passed}/{ruling.cases}", rate, self.change, self.detectable_drop]

    @property
    def _flipped(self) -> list[Outcome]:
        return [each for each in self.result.outcomes if each.case in self.ruling.flipped]


def overall(reports: Sequence[Reported]) -> Verdict:
    """Return the worst verdict of a module."""
    return worst([each.ruling.verdict for each in reports])


def headline(reports: Sequence[Reported]) -> str:
    verdict = overall(reports)
    return f"Evals {'are ' if verdict == 'inconclusive' else ''}{WORDS[verdict]}"


def by_verdict(reports: Sequence[Reported]) -> str:
    """Return which modules failed, which are inconclusive and which passed, in a line."""
    named = {
        word: [each.ruling.name for each in reports if each.ruling.verdict == verdict]
        for verdict, word in WORDS.items()
    }
    parts = [f"{word.capitalize()}: {', '.join(names)}." for word, names in named.items() if names]
    return " ".join(parts)


def interval(share: Share) -> str:
    return f"{percent(share.low).removesuffix(' %')} to {percent(share.high)}"


def printable(text: str) -> str:
    """Leave out what is no character to read."""
    return _CONTROLS.sub("", text)


def on_one_line(text: str, longest: int = 300) -> str:
    return " ".join(printable(clipped(text, longest)).split())


def clipped(text: str, longest: int) -> str:
    """Return the beginning of a long text, and how much is left out."""
    rest = len(text) - longest
    return f"{text[:longest]} … ({rest:,} more characters)" if rest > 0 else text
