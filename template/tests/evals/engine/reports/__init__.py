"""What the tests of the reports share: results that the gate has judged."""

from collections.abc import Collection
from typing import Any

from evals.engine.baseline import Baseline
from evals.engine.gate import judge
from evals.engine.reports import Header, Reported
from evals.engine.results import Asked, Check, Outcome, Result, Run

HEADER = Header(model="openai:small", when="2026-11-25 21:40 UTC")
HOSTILE = (
    "<script>alert(1)</script> | [a](https://evil.example) ![b](//evil.example)\n"
    "`c` *d* __e__ \x1b[2J\x07\x9b [red]f[/red] &amp; \"'> https://evil.example www.evil.example"
)
# It as XML, a summary and a terminal are to show it.
PLAIN = HOSTILE.replace("\x1b", "").replace("\x07\x9b", "")


def run(*, passes: bool = True, reason: str | None = "it is wrong", **more: Any) -> Run:
    check = Check(name="equals", holds=passes, reason=None if passes else reason)
    return Run(**{"output": "out", "checks": (check,), **more})


def outcome(case: str, *passes: bool, **more: Any) -> Outcome:
    """Return a case with a run for each of `passes`."""
    runs = tuple(run(passes=each) for each in passes)
    return Outcome(**{"case": case, "question": "ask", "expected": "expect", "runs": runs, **more})


def module(*outcomes: Outcome, before: Collection[str] | None = None, **more: Any) -> Reported:
    """Judge a module; `before`: which cases passed at the baseline, None where there is none."""
    asked = Asked(model="openai:small", prompts={"chat/1": "0a1b2c"}, dataset="3d4e5f")
    result = Result(**{"name": "chat", "asked": asked, "outcomes": outcomes, **more})
    return Reported(result, judge(result, None if before is None else _baseline(result, before)))


def _baseline(result: Result, passed: Collection[str]) -> Baseline:
    baseline = Baseline.of(result)
    cases = [
        past.model_copy(update={"runs": (past.case in passed,) * len(past.runs)})
        for past in baseline.cases
    ]
    return baseline.model_copy(update={"cases": tuple(cases)})


FAILED = module(
    outcome("right", True),
    outcome("broken", False),
    outcome("mended", True),
    outcome("wrong", False, must_pass=True),
    before=["right", "broken"],
    name="extract",
    floors={"all": 0.75},
)
INCONCLUSIVE = module(
    outcome("right", True),
    outcome("wrong", False),
    before=["right"],
    name="classify",
    floors={"all": 0.75},
)
PASSED = module(outcome("first", True), outcome("second", True), name="chat")
