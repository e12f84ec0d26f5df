"""What a comparison found, and how it is told to people."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

# The chance that a report calls anything changed where nothing is.
ALPHA: Final = 0.01
# How often the shift that is named beside each measure would have been found.
POWER: Final = 0.8
# Of fewer responses, on either side, nothing is said.
FEWEST: Final = 30

TOPICS: Final = "topics"
INPUT_LENGTH: Final = "input_length"
OUTPUT_LENGTH: Final = "output_length"
REFUSALS: Final = "refusals"
FEEDBACK: Final = "feedback"


@dataclass(frozen=True)
class Comparison:
    """One measure of one feature: `reference` and `window` are how many responses it is of.

    Before and after are the median length, or the rate; topics have neither. The p-value is the
    corrected one, and None where there are too few. `detectable` is, of topics, the share of the
    inputs that would have to be about one other thing; of lengths, by how much the share that is
    longer than some length would have to differ; of rates, what they would have to rise to.
    """

    feature: str
    measure: str
    reference: int
    window: int
    before: float | None = None
    after: float | None = None
    score: float = 0.0
    p_value: float | None = None
    detectable: float | None = None

    @property
    def has_changed(self) -> bool:
        return self.p_value is not None and self.p_value <= ALPHA


@dataclass(frozen=True)
class Report:
    """Each pair of times is where a period begins and ends."""

    reference: tuple[datetime, datetime]
    window: tuple[datetime, datetime]
    comparisons: tuple[Comparison, ...]

    def in_words(self) -> str:
        """Return the report as a short text."""
        changed = [f"{c.measure} of {c.feature}" for c in self.comparisons if c.has_changed]
        verdict = "Nothing is known to have changed."
        if not any(c.p_value is not None for c in self.comparisons):
            verdict = f"Nothing could be compared: each side needs {FEWEST} responses."
        elif changed:
            verdict = f"Changed: {', '.join(changed)}."
        lines = [f"{_days(self.window)} against {_days(self.reference)}. {verdict}"]
        for feature in sorted({c.feature for c in self.comparisons}):
            lines += ["", feature]
            lines += [f"  {_line(c)}" for c in self.comparisons if c.feature == feature]
        return "\n".join(lines)


def _days(period: tuple[datetime, datetime]) -> str:
    return " to ".join(f"{time:%Y-%m-%d %H:%M}" for time in period)


def _line(found: Comparison) -> str:
    sizes = f"{found.window} against {found.reference}"
    if found.p_value is None:
        return f"{found.measure}: not compared, {sizes} are too few."
    verdict = "CHANGED" if found.has_changed else "no change found"
    values = ""
    if found.before is not None and found.after is not None:
        is_rate = found.measure in (REFUSALS, FEEDBACK)
        before, after = (
            _percent(v, 1) if is_rate else f"{v:.0f}" for v in (found.before, found.after)
        )
        values = f", {before} before and {after} now"
    numbers = f"score {found.score:.3f}, p {found.p_value:.3g}, {sizes}"
    return f"{found.measure}: {verdict}{values} ({numbers}). {_power(found)}"


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def _power(found: Comparison) -> str:
    often = f"{_percent(POWER)} of the time"
    if found.detectable is None:
        return "So few can show no shift, however large."
    share = _percent(found.detectable)
    shift = {
        TOPICS: f"{share} of the inputs about one other thing",
        INPUT_LENGTH: f"{share} more of them longer, or shorter, than some length",
        OUTPUT_LENGTH: f"{share} more of them longer, or shorter, than some length",
    }.get(found.measure, f"a rise to {_percent(found.detectable, 1)}")
    return f"It would show {shift}, {often}."
