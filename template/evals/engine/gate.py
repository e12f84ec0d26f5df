"""The gate: what a result passes or fails by, and what is too uncertain to say.

A fall that chance explains does not fail, and no rule looks at a rate without its interval:
"inconclusive" asks for more cases. A case that must pass knows no chance.
"""

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from pydantic import BaseModel

from evals.engine.baseline import Baseline, Past
from evals.engine.results import Outcome, Result, Verdict
from evals.engine.statistics import detectable_drop, drop_test, rate_interval

_SEVERITY: dict[Verdict, int] = {"pass": 0, "inconclusive": 1, "fail": 2}


class Finding(BaseModel, frozen=True):
    """What was found and what to do about it, for people."""

    verdict: Verdict
    text: str


class Share(BaseModel, frozen=True):
    """The cases that passed in every run, and the mean of all cases' rates (95 % interval)."""

    name: str
    verdict: Verdict
    cases: int
    passed: int
    rate: float
    low: float
    high: float


class Slice(Share, frozen=True):
    floor: float | None


class Ruling(Share, frozen=True):
    """What the gate says of one module."""

    findings: tuple[Finding, ...]
    # The smallest drop that this many cases show with 80 % power; None where they show none.
    detectable_drop: float | None
    # The cases whose outcome differs from the baseline, the newly failing ones first.
    flipped: tuple[str, ...]
    slices: tuple[Slice, ...]


def judge(
    result: Result,
    baseline: Baseline | None,
    *,
    minimum_effect: float = 0.02,
    alpha: float = 0.05,
) -> Ruling:
    """Judge a module's result by its cases, its floors and its baseline.

    Raises ValueError for a floor of a slice that has no case.
    """
    slices = tuple(_slices(result))
    pairs = list(_pairs(result, baseline))
    before = [old.rate for old, _ in pairs] or [each.rate for each in result.outcomes]
    rules = {"alpha": alpha, "minimum_effect": minimum_effect}
    detectable = detectable_drop(len(before), fmean(before), **rules)
    findings = (
        *_broken(result.outcomes),
        *_below(slices),
        *_changes(result, baseline),
        *_lost(result.outcomes, baseline),
        *_unreviewed(result),
        *(_drop(pairs, detectable, **rules) if result.chance else _newly_failing(pairs)),
    )
    flipped = [new for old, new in pairs if old.passed != new.passed]
    return Ruling(
        name=result.name,
        verdict=worst([finding.verdict for finding in findings]),
        **_counts(result.outcomes),
        findings=findings,
        detectable_drop=detectable,
        flipped=tuple(each.case for each in sorted(flipped, key=lambda each: each.passed)),
        slices=slices,
    )


def exit_code(rulings: Sequence[Ruling]) -> int:
    """Return 1 where a module fails; one that is inconclusive does not stop anybody."""
    return int(any(ruling.verdict == "fail" for ruling in rulings))


def summary(rulings: Sequence[Ruling]) -> dict[str, Any]:
    """Return the rulings as JSON has them."""
    return {
        "verdict": worst([ruling.verdict for ruling in rulings]),
        "modules": [ruling.model_dump(mode="json") for ruling in rulings],
    }


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    return max(verdicts, key=_SEVERITY.__getitem__, default="pass")


def percent(rate: float) -> str:
    """Write a rate for people: what is only not 0 by the rounding of floats is 0."""
    return f"{round(100 * rate, 9):.3g} %"


def _pairs(result: Result, baseline: Baseline | None) -> Iterator[tuple[Past, Outcome]]:
    """Give the cases that the baseline has too, unless somebody else judged them."""
    if baseline and baseline.asked.judge == result.asked.judge:
        past = {each.case: each for each in baseline.cases}
        yield from ((past[each.case], each) for each in result.outcomes if each.case in past)


def _counts(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    rates = [each.rate for each in outcomes]
    low, high = rate_interval(rates, sum(len(each.runs) for each in outcomes))
    passed = sum(each.passed for each in outcomes)
    return {"cases": len(rates), "passed": passed, "rate": fmean(rates), "low": low, "high": high}


def _slices(result: Result) -> Iterator[Slice]:
    """Look at all cases, then at each slice of them."""
    members = {"all": list(result.outcomes)}
    for each in result.outcomes:
        if each.slice != "all":
            members.setdefault(each.slice, []).append(each)
    if unknown := sorted(result.floors.keys() - members.keys()):
        raise ValueError(
            f"{result.name} has a floor for {', '.join(unknown)}, and no case of that slice:"
            f" there are {', '.join(members)}. Mend the name, or give a case that slice."
        )
    for name, outcomes in members.items():
        floor, counts = result.floors.get(name), _counts(outcomes)
        verdict: Verdict = "pass"
        if floor is not None and counts["rate"] < floor:
            verdict = "fail" if counts["high"] < floor else "inconclusive"
        yield Slice(name=name, verdict=verdict, floor=floor, **counts)


def _broken(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for each in outcomes:
        if each.must_pass and not each.passed:
            failed = [run for run in each.runs if not run.passed]
            checks = [
                f"{check.name}{f' ({check.reason})' if check.reason else ''}"
                for check in failed[0].checks
                if not (check.holds or check.advisory)
            ]
            text = (
                f"{each.case} must pass, and failed {len(failed)} of {len(each.runs)} runs:"
                f" {', '.join(checks)}. Mend what broke it."
            )
            yield Finding(verdict="fail", text=text)


def _below(slices: Sequence[Slice]) -> Iterator[Finding]:
    for each in slices:
        if each.verdict != "pass" and each.floor is not None:
            which = "All cases" if each.name == "all" else f"Slice {each.name}"
            advice = {
                "fail": "Chance does not explain it: mend the failing cases.",
                "inconclusive": f"{each.cases} cases are too few to tell: add cases.",
            }[each.verdict]
            text = (
                f"{which}: the rate of {percent(each.rate)} is below the floor of"
                f" {percent(each.floor)} (95 % interval {percent(each.low)} to"
                f" {percent(each.high)}, {each.cases} cases). {advice}"
            )
            yield Finding(verdict=each.verdict, text=text)


def _unreviewed(result: Result) -> Iterator[Finding]:
    if names := result.unreviewed:
        listed = ", ".join(names[:5]) + (" …" if names[5:] else "")
        text = f"{len(names)} cases are not reviewed, and were not asked: {listed}"
        yield Finding(verdict="pass", text=text)


def _changes(result: Result, baseline: Baseline | None) -> Iterator[Finding]:
    """Say what else differs from the baseline, for a drop may come of it."""
    if baseline is None:
        text = "There is no baseline to compare with. `poe eval --save-baseline` makes one."
        yield Finding(verdict="pass", text=text)
        return
    old, new = baseline.asked, result.asked
    if old.model != new.model:
        text = f"The baseline's model is {old.model}, and this one's {new.model}."
        yield Finding(verdict="pass", text=text)
    if changed := sorted({name for name, _ in old.prompts.items() ^ new.prompts.items()}):
        text = f"These prompts are not the baseline's: {', '.join(changed)}."
        yield Finding(verdict="pass", text=text)
    if old.search and old.search != new.search:
        text = f"The baseline searched with {old.search}, and this run with {new.search}."
        yield Finding(verdict="pass", text=text)
    if old.judge != new.judge:
        text = (
            f"The baseline's judge is {old.judge or 'none'}, and this one's {new.judge or 'none'}:"
            " such rates cannot be compared. Judge as the baseline was, or save a new one."
        )
        yield Finding(verdict="inconclusive", text=text)
        return
    then, now = ({each.case for each in cases} for cases in (baseline.cases, result.outcomes))
    if old.dataset != new.dataset or not then & now:
        text = (
            f"The dataset is not the baseline's: {len(then & now)} cases are compared, though"
            f" their text may differ; {len(now - then)} are new, and {len(then - now)} are gone."
            " `poe eval --save-baseline` makes a new baseline."
        )
        yield Finding(verdict="pass" if then & now else "inconclusive", text=text)


def _lost(outcomes: Sequence[Outcome], baseline: Baseline | None) -> Iterator[Finding]:
    """Miss the cases that had to pass: taking them away is no way to pass."""
    marked = {each.case for each in outcomes if each.must_pass}
    for past in baseline.cases if baseline else ():
        if past.must_pass and past.case not in marked:
            text = (
                f"{past.case} had to pass, and is gone or not marked any more. Put it back, or save"
                " a new baseline where this is meant."
            )
            yield Finding(verdict="fail", text=text)


def _newly_failing(pairs: Sequence[tuple[Past, Outcome]]) -> Iterator[Finding]:
    """Fail for each change for the worse, where the same question gets the same answer."""
    failing = [new.case for old, new in pairs if old.passed and not new.passed]
    if failing:
        text = (
            f"{len(failing)} of {len(pairs)} cases fail now, and nothing was left to chance:"
            f" {', '.join(failing)}. Mend them, or save a new baseline where this is meant."
        )
        yield Finding(verdict="fail", text=text)


def _drop(
    pairs: Sequence[tuple[Past, Outcome]],
    detectable: float | None,
    *,
    alpha: float,
    minimum_effect: float,
) -> Iterator[Finding]:
    """Compare the rates of the cases that the baseline has too."""
    if not pairs:
        return
    before, after = [old.rate for old, _ in pairs], [new.rate for _, new in pairs]
    size, p_value = drop_test(before, after)
    if size < minimum_effect:
        return
    text = (
        f"The rate of the {len(after)} cases that the baseline has too fell by"
        f" {_points(size)}, from {percent(fmean(before))} to"
        f" {percent(fmean(after))} (p = {p_value:.2g})."
    )
    runs = {len(old.runs) for old, _ in pairs}, {len(new.runs) for _, new in pairs}
    if runs[0] != runs[1]:
        advice = "Such rates cannot be compared: save a baseline with as many runs a case."
        yield Finding(verdict="inconclusive", text=f"{text} {advice}")
        return
    if p_value <= alpha:
        advice = "Mend the newly failing cases, or save a new baseline where this is meant."
        yield Finding(verdict="fail", text=f"{text} {advice}")
        return
    found = f"a drop of {_points(detectable)} 4 times in 5" if detectable else "no drop"
    advice = f"Chance may explain it: so many cases show {found}. Add cases, or repeat them."
    yield Finding(verdict="inconclusive", text=f"{text} {advice}")


def _points(drop: float) -> str:
    return f"{100 * drop:.3g} points"
