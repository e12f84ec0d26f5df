"""What came of an eval: an outcome a case, and what was asked to get it.

A case is run once or several times (`--repeat`). One run passes where all its assertions hold.
"""

from typing import Any, Literal

from pydantic import BaseModel, Field

Verdict = Literal["pass", "fail", "inconclusive"]


class Check(BaseModel, frozen=True):
    """One assertion about one run; `reason` says why it does not hold, where it does not."""

    name: str
    holds: bool
    reason: str | None = None
    # Shown, but no case passes or fails by it: a judge that is not calibrated.
    advisory: bool = False


class Run(BaseModel, frozen=True):
    """One run of a case. `output` is as it is shown to people."""

    output: str
    checks: tuple[Check, ...]
    scores: dict[str, float] = {}
    seconds: float = 0
    # Made of answers that were kept from an earlier run: then its seconds say nothing.
    cached: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    # None where a price is not known.
    cost_usd: float | None = 0

    @property
    def passed(self) -> bool:
        return all(check.holds for check in self.checks if not check.advisory)


class Outcome(BaseModel, frozen=True):
    """A case and its runs, at least one; `question` and `expected` are as shown to people."""

    case: str
    question: str
    expected: str
    runs: tuple[Run, ...] = Field(min_length=1)
    slice: str = "all"
    must_pass: bool = False

    @property
    def rate(self) -> float:
        """The share of the runs that passed."""
        return sum(run.passed for run in self.runs) / len(self.runs)

    @property
    def passed(self) -> bool:
        """Whether every run passed (pass^k)."""
        return all(run.passed for run in self.runs)


class Asked(BaseModel, frozen=True):
    """What was asked for an answer."""

    # As `poe eval --model` names it.
    model: str
    # Prompt, such as `chat/1` -> digest of its text and parameters.
    prompts: dict[str, str] = {}
    # Of the dataset's file.
    dataset: str
    # By which judge a case may fail: its name, and the digest of its text.
    judge: str | None = None
    # The model that searches, where another one answers from what it finds.
    search: str | None = None


class Result(BaseModel, frozen=True):
    """One module's outcomes. `floors`: slice -> the least share of cases that has to pass."""

    name: str
    asked: Asked
    outcomes: tuple[Outcome, ...] = Field(min_length=1)
    floors: dict[str, float] = {}
    # Whether the same question may be answered otherwise the next time.
    chance: bool = True
    # What belongs to no single case, such as a confusion matrix: a title, and rows of cells.
    tables: dict[str, list[list[Any]]] = {}
    # The cases that nobody has reviewed: they were not asked.
    unreviewed: tuple[str, ...] = ()

    @property
    def scores(self) -> dict[str, float]:
        """The mean of each score, over cases; of a case, over its runs."""
        by_name: dict[str, list[float]] = {}
        for outcome in self.outcomes:
            for name in sorted({name for run in outcome.runs for name in run.scores}):
                found = [run.scores[name] for run in outcome.runs if name in run.scores]
                by_name.setdefault(name, []).append(sum(found) / len(found))
        return {name: sum(values) / len(values) for name, values in by_name.items()}

    @property
    def cost_usd(self) -> float | None:
        """What all runs cost; None where a price is not known."""
        costs = [run.cost_usd for outcome in self.outcomes for run in outcome.runs]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None
