"""Calibration: how often a judge is right, on answers that people have judged.

Good answers and bad ones are counted apart: where most answers are good, a judge that passes
everything is accurate. What was measured holds for one judge, its text and one labelled file.
"""

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final, NamedTuple, Self

from pydantic import BaseModel, Field, ValidationError

from evals.engine.statistics import Interval, kappa, wilson
from evals.evaluators.judge import Judgement, Judging

# What the lower ends of TPR and TNR have to reach. A judge at 0.7 still shows 0.4 of the difference
# between two true rates (TPR + TNR - 1). Of 40 good and 40 bad answers it takes 34 of each: a judge
# that is right 9 times in 10 gets there 4 times in 5, one that is right 8 times in 10 once in 12.
FLOOR: Final = 0.7
# Of an interval of 95 %.
_Z: Final = 1.96


class NotCalibrated(ValueError):
    """No calibration holds for a judge; the text says why and what to do."""


class Labelled(BaseModel, frozen=True, extra="forbid", strict=True):
    """An answer, what is asked of it, and what a person says of it."""

    question: str = Field(min_length=1)
    answer: str
    rubric: str = Field(min_length=1)
    passes: bool
    why: str = Field(min_length=1)
    reference: str | None = None


@dataclass(frozen=True)
class Labels:
    """Labelled files: JSON Lines, each a `Labelled`."""

    cases: tuple[Labelled, ...]
    digest: str

    @classmethod
    def read(cls, *paths: Path) -> Self:
        """Read the files; raise `ValueError`, which names the line, where they cannot be used."""
        texts = [path.read_text("utf-8") for path in paths]
        cases: dict[tuple[str, str, str], Labelled] = {}
        for path, text in zip(paths, texts, strict=True):
            # Not `splitlines`: JSON may hold other characters that it takes for an end of line.
            for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
                try:
                    case = Labelled.model_validate_json(line)
                except ValidationError as error:
                    raise ValueError(f"{path.name}, line {number}: {_first(error)}") from error
                key = case.question, case.answer, case.rubric
                if key in cases:
                    raise ValueError(f"{path.name}, line {number}: the same was labelled before")
                cases[key] = case
        if {case.passes for case in cases.values()} != {True, False}:
            named = ", ".join(path.name for path in paths)
            raise ValueError(f"{named} needs answers that pass and answers that do not")
        return cls(tuple(cases.values()), hashlib.sha256("".join(texts).encode()).hexdigest()[:12])

    @property
    def rubrics(self) -> frozenset[str]:
        """The rubrics with answers of both kinds: of another nobody knows how the judge errs."""
        good, bad = (
            {case.rubric for case in self.cases if case.passes is passes}
            for passes in (True, False)
        )
        return frozenset(good & bad)


class Disagreement(BaseModel, frozen=True):
    """A case that the judge sees otherwise than the person, and what it says of it."""

    case: Labelled
    critique: str


class Estimate(NamedTuple):
    value: float
    interval: Interval

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.interval.low:.2f} to {self.interval.high:.2f})"


class Calibration(BaseModel, frozen=True, extra="forbid"):
    """What a judge got right; positive is an answer that passes. Intervals are of 95 %."""

    judge: str
    # Digests of the judge's text and of the labelled file.
    text: str
    labels: str
    true_positives: int = Field(ge=0)
    false_negatives: int = Field(ge=0)
    true_negatives: int = Field(ge=0)
    false_positives: int = Field(ge=0)
    disagreements: tuple[Disagreement, ...] = ()

    @property
    def n(self) -> int:
        return self.positives + self.negatives

    @property
    def positives(self) -> int:
        return self.true_positives + self.false_negatives

    @property
    def negatives(self) -> int:
        return self.true_negatives + self.false_positives

    @property
    def accuracy(self) -> Estimate:
        return _share(self.true_positives + self.true_negatives, self.n)

    @property
    def tpr(self) -> Estimate:
        """Of the answers that people pass, the share that the judge passes."""
        return _share(self.true_positives, self.positives)

    @property
    def tnr(self) -> Estimate:
        """Of the answers that people fail, the share that the judge fails."""
        return _share(self.true_negatives, self.negatives)

    @property
    def kappa(self) -> Estimate:
        """Cohen's kappa: the agreement beyond chance."""
        pairs = (
            [(True, True)] * self.true_positives
            + [(True, False)] * self.false_negatives
            + [(False, False)] * self.true_negatives
            + [(False, True)] * self.false_positives
        )
        return Estimate(*kappa(pairs))

    @property
    def rows(self) -> list[list[str]]:
        """What a report shows: each measure, and its value with its interval."""
        return [
            [f"accuracy of {self.n}", str(self.accuracy)],
            [f"TPR of {self.positives}", str(self.tpr)],
            [f"TNR of {self.negatives}", str(self.tnr)],
            ["Cohen's kappa", str(self.kappa)],
        ]

    def gates(self, floor: float = FLOOR) -> bool:
        """Return whether a case may fail by this judge."""
        return not self.why_not(floor)

    def why_not(self, floor: float = FLOOR) -> str:
        """Say why no case may fail by this judge, and what would help; "" where one may."""
        faults = [
            f"Of {count} answers that people {verb} it {verb}{s} {found}, and the lower end has to"
            f" reach {floor:.2f}. {_what_helps(found.value, count, floor)}"
            for verb, s, count, found in (
                ("pass", "es", self.positives, self.tpr),
                ("fail", "s", self.negatives, self.tnr),
            )
            if found.interval.low < floor
        ]
        return " ".join([f"The judge {self.judge} may not gate.", *faults]) if faults else ""


async def calibrate(
    judge: Judging,
    labels: Labels,
    *,
    concurrency: int = 8,
    progress: Callable[[], object] = lambda: None,
) -> Calibration:
    """Ask the judge about every labelled answer; `progress` is called after each."""
    free = asyncio.Semaphore(concurrency)

    async def ask(case: Labelled) -> Judgement:
        async with free:
            judged = await judge.verdict(case.question, case.answer, case.rubric, case.reference)
        progress()
        return judged

    asked = [asyncio.ensure_future(ask(case)) for case in labels.cases]
    try:
        judged = await asyncio.gather(*asked)
    finally:
        # Where one fails, no more are asked.
        for one in asked:
            one.cancel()
    return _compared(judge, labels, judged)


def save(calibration: Calibration, folder: Path) -> Path:
    """Write a calibration to where `load` finds it; return the file."""
    path = _path(folder, calibration.judge)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(calibration.model_dump_json(indent=2) + "\n", "utf-8")
    return path


def load(folder: Path, judge: Judging, labels: Labels) -> Calibration:
    """Return the calibration of a judge; raise `NotCalibrated` where none holds."""
    path = _path(folder, judge.name)
    if not path.exists():
        raise NotCalibrated(f"The judge {judge.name} was never calibrated: calibrate it.")
    try:
        found = Calibration.model_validate_json(path.read_bytes())
    except ValidationError as error:
        why = f"{path.name} is no calibration ({_first(error)})"
        raise NotCalibrated(f"{why}: calibrate {judge.name} again.") from error
    changes = {
        f"it is of {found.judge}": found.judge != judge.name,
        "what the judge is told has changed": found.text != judge.digest,
        "the labelled file has changed": found.labels != labels.digest,
    }
    if changed := " and ".join(change for change, is_so in changes.items() if is_so):
        raise NotCalibrated(f"{path.name} does not hold: {changed}. Calibrate {judge.name} again.")
    return found


def _compared(judge: Judging, labels: Labels, judged: Sequence[Judgement]) -> Calibration:
    pairs = list(zip(labels.cases, judged, strict=True))
    found = Counter((case.passes, said.passes) for case, said in pairs)
    return Calibration(
        judge=judge.name,
        text=judge.digest,
        labels=labels.digest,
        true_positives=found[True, True],
        false_negatives=found[True, False],
        true_negatives=found[False, False],
        false_positives=found[False, True],
        disagreements=tuple(
            Disagreement(case=case, critique=said.critique)
            for case, said in pairs
            if case.passes != said.passes
        ),
    )


def _share(right: int, total: int) -> Estimate:
    return Estimate(right / total, wilson(right, total))


def _what_helps(share: float, count: int, floor: float) -> str:
    if share <= floor:
        return "More labels do not help: change the judge's text, the rubrics or the model."
    # Wilson's lower end is the floor that a score test just does not refuse.
    needed = ceil(_Z**2 * floor * (1 - floor) / (share - floor) ** 2)
    return f"If it stays as good, about {needed - count} more such labels would show it."


def _path(folder: Path, judge: str) -> Path:
    return folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', judge)}.json"


def _first(error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join(map(str, fault["loc"]))
    return f"{where}: {fault['msg']}" if where else fault["msg"]
