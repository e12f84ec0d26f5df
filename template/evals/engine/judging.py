"""A judge that looks at the evals: what it is asked, and whether a case may fail by it.

It decides only where it was measured: while its calibration holds, and on rubrics of which people
labelled answers.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from evals.engine import calibration
from evals.engine.calibration import Labels
from evals.engine.eval import CLAIMS, Eval
from evals.engine.reports import on_one_line
from evals.engine.running import Service
from evals.evaluators.judge import Judge, Rubric

_FOLDER: Final = Path(__file__).parents[1]
CALIBRATIONS: Final = _FOLDER / "calibrations"
JUDGED: Final = "judged"
# By a rubric that no answers are labelled for.
UNMEASURED: Final = "judged, not measured"
_log = logging.getLogger("evals")


def labels(folder: Path = _FOLDER / "labelled") -> Labels:
    """Read the answers that people labelled."""
    return Labels.read(*sorted(folder.glob("judge*.jsonl")))


def with_judge(
    service: Service, judge: Judge, labels: Labels, calibrations: Path = CALIBRATIONS
) -> Service:
    """Let the judge look at each eval; log where no case may fail by it, and why."""
    gates = _gates(judge, labels, calibrations)

    def judged(found: Eval[Any, Any]) -> Eval[Any, Any]:
        claims = found.claims(judge.model)
        if found.rubric is None:
            return replace(found, evaluators=[*found.evaluators, *claims])
        measured = found.rubric in labels.rubrics
        if not measured:
            _log.warning(
                "The judge does not gate by the rubric %r: evals/labelled has no good and bad"
                " answer to it. Label some there, and calibrate again.",
                on_one_line(found.rubric, 60),
            )
        name = JUDGED if measured else UNMEASURED
        rubric = Rubric(judge, found.rubric, evaluation_name=name)
        return replace(
            found,
            evaluators=[*found.evaluators, rubric, *claims],
            judge=f"{judge.name} {judge.digest}" if gates and measured else None,
        )

    advisory = {CLAIMS, UNMEASURED} if gates else {CLAIMS, UNMEASURED, JUDGED}
    return replace(service, judged=judged, advisory=frozenset(advisory), prefer=judge.prefer)


def _gates(judge: Judge, labels: Labels, calibrations: Path) -> bool:
    try:
        why_not = calibration.load(calibrations, judge, labels).why_not()
    except calibration.NotCalibrated as error:
        why_not = str(error)
    if why_not:
        _log.warning("The judge does not gate. %s", why_not)
    return not why_not


async def measured(judge: Judge, labels: Labels, calibrations: Path = CALIBRATIONS) -> str:
    """Measure the judge on the labels, keep what was found, and return it as text."""
    found = await calibration.calibrate(judge, labels)
    path = calibration.save(found, calibrations)
    rows = [f"{what:<18} {value}" for what, value in found.rows]
    differ = [on_one_line(f"{d.case.question}: {d.critique}") for d in found.disagreements]
    return "\n".join([*rows, found.why_not() or f"{judge.name} may gate: {path}", *differ])
