"""Run an eval's cases, and note what came of each.

What the service refuses is a case that failed. What it cannot do at the moment, and a fault of
ours, says nothing about its answers: it ends the eval.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, Literal

from pydantic import BaseModel
from pydantic_core import to_json
from pydantic_evals.evaluators import EvaluationResult
from pydantic_evals.reporting import EvaluationReport, ReportCase, ReportCaseFailure

from app.errors import ServiceError
from app.resources import Resources
from evals.engine.eval import About, Eval, In, Out
from evals.engine.results import Asked, Check, Outcome, Result, Run

AT_ONCE = 8
# What answers without a provider is called so, and knows no chance.
OFFLINE = "offline"
# The metric that counts the answers that were kept from an earlier run.
KEPT = "kept"
# Says which of two answers to a question meets a rubric better.
Prefer = Callable[[str, str, str, str], Awaitable[Literal["a", "b", "tie"]]]
AnyCase = ReportCase[Any, Any, About] | ReportCaseFailure[Any, Any, About]


class Unanswered(Exception):
    """No answer can be had: that says nothing about how good answers are."""


@dataclass(frozen=True)
class Service:
    """What is asked, and what surrounds the asking."""

    resources: Resources
    # Puts the judges on an eval that are named for this run.
    judged: Callable[[Eval[Any, Any]], Eval[Any, Any]] = lambda found: found
    # Checks by which no case may fail.
    advisory: frozenset[str] = frozenset()
    # Where there is a judge, it compares answers, too.
    prefer: Prefer | None = None
    # Whether all answers are recordings.
    replayed: bool = False
    # What new answers have cost, so far.
    spent_usd: Callable[[], Decimal] = Decimal


async def run(
    name: str, found: Eval[Any, Any], service: Service, folder: Path, *, repeat: int = 1
) -> Result:
    """Ask for each case of `folder/<name>.yaml`, `repeat` times; show a progress bar.

    Raises `Unanswered` where the service cannot answer, and `ValueError` where the cases cannot be
    read.
    """
    path = folder / f"{name}.yaml"
    found = service.judged(found)
    dataset = found.load(path)
    unreviewed = [case for case in dataset.cases if (case.metadata or About()).reviewed_by is None]
    dataset.cases = [case for case in dataset.cases if case not in unreviewed]
    if not dataset.cases:
        raise ValueError(f"{path} has no case with reviewed_by: review one.")
    async with found.opened(service.resources) as opened:
        asking = _Asking[Any, Any](lambda question: found.ask(opened, question))
        report = await dataset.evaluate(
            asking, task_name=name, max_concurrency=AT_ONCE, repeat=repeat, progress=True
        )
    if trouble := asking.trouble:
        said = trouble if isinstance(trouble, ServiceError | Unanswered) else repr(trouble)
        raise Unanswered(f"{name}: {said}") from trouble
    for case in report.cases:
        for failure in case.evaluator_failures:
            if failure.name not in service.advisory:
                raise Unanswered(f"{name}, {case.name}: {failure.name}: {failure.error_message}")
    model, prompts = found.asked(service.resources)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return Result(
        name=name,
        asked=Asked(
            model=model,
            prompts=dict(prompts),
            dataset=digest,
            judge=found.judge,
            search=found.search(service.resources),
        ),
        outcomes=tuple(
            _outcome(case, runs, service.advisory) for case, runs in _grouped(report).items()
        ),
        floors=dict(found.floors),
        chance=not (service.replayed or model.partition(":")[0] == OFFLINE),
        tables=found.tables(report.cases),
        unreviewed=tuple(str(case.name) for case in unreviewed),
    )


class _Asking(Generic[In, Out]):
    """Asks the service, and no more once it cannot answer."""

    def __init__(self, ask: Callable[[In], Awaitable[Out]]) -> None:
        self._ask = ask
        self.trouble: Exception | None = None

    async def __call__(self, question: In) -> Out:
        if self.trouble:
            raise self.trouble
        try:
            return await self._ask(question)
        except Exception as error:
            refused = isinstance(error, ServiceError) and error.status < 500 and error.status != 429
            if not refused:
                self.trouble = self.trouble or error
            raise


def _grouped(report: EvaluationReport[Any, Any, Any]) -> dict[str, list[AnyCase]]:
    """Return the runs of each case; those that were refused come last."""
    runs: dict[str, list[AnyCase]] = {}
    every: list[AnyCase] = [*report.cases, *report.failures]
    for case in every:
        runs.setdefault(case.source_case_name or case.name, []).append(case)
    return runs


def _outcome(name: str, runs: Sequence[AnyCase], advisory: frozenset[str]) -> Outcome:
    first = runs[0]
    about = first.metadata or About()
    return Outcome(
        case=name,
        question=shown(first.inputs),
        expected="" if first.expected_output is None else shown(first.expected_output),
        runs=tuple(_run(run, advisory) for run in runs),
        slice=about.slice,
        must_pass=about.must_pass,
    )


def _run(run: AnyCase, advisory: frozenset[str]) -> Run:
    if isinstance(run, ReportCaseFailure):
        why = run.error_message.partition(": ")[2] or run.error_message
        return Run(output="", checks=(Check(name="answered", holds=False, reason=why),))
    metrics = run.metrics
    checks = [_check(name, result, advisory) for name, result in run.assertions.items()]
    checks += [
        Check(name=failure.name, holds=False, reason=failure.error_message, advisory=True)
        for failure in run.evaluator_failures
    ]
    if all(check.advisory for check in checks):
        raise ValueError(
            f"No evaluator says whether {run.name!r} passes: one has to give a bool, of an answer"
            " that was kept, too."
        )
    return Run(
        output=shown(run.output),
        checks=tuple(checks),
        scores={name: float(result.value) for name, result in run.scores.items()},
        seconds=run.task_duration,
        cached=bool(metrics.get(KEPT)),
        input_tokens=int(metrics.get("tokens_in", 0)),
        output_tokens=int(metrics.get("tokens_out", 0)),
        cost_usd=None if metrics.get("unpriced") else metrics.get("usd", 0),
    )


def _check(name: str, result: EvaluationResult[bool], advisory: frozenset[str]) -> Check:
    reason = None if result.value else result.reason
    return Check(name=name, holds=result.value, reason=reason, advisory=name in advisory)


def shown(value: object) -> str:
    """Write a value as people read it: texts as they are, data as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True)
    return to_json(value, indent=2).decode()
