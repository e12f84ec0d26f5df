"""Which models answer and judge, and where their answers are kept: the options of `poe eval`."""

import argparse
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from pydantic_ai.models import Model

from app.llm import models
from app.llm.offline import offline_model
from app.llm.settings import provider_of

from app.settings import Settings
from evals.engine import calibration
from evals.engine.eval import CLAIMS, Eval
from evals.engine.offline_judge import judge_by_words
from evals.engine.recorder import Answers, Mode
from evals.engine.reports import on_one_line
from evals.engine.running import Service, Unanswered
from evals.evaluators.judge import Judge, Rubric, choose

FOLDER: Final = Path(__file__).parents[1]
CACHE: Final = Path(".evals/cache")
LABELLED: Final = FOLDER / "labelled/judge.jsonl"
CALIBRATIONS: Final = FOLDER / "calibrations"
# Which model was recorded: one at a time.
_MODEL: Final = FOLDER / "recordings/model"
_JUDGED: Final = "judged"
_log = logging.getLogger("evals")


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add what can be chosen of the models."""
    parser.add_argument("--model", help="ask this model, as LLM__MODEL names it")
    parser.add_argument(
        "--prompt", action="append", default=[], metavar="NAME@VERSION", help="use this version"
    )
    parser.add_argument(
        "--max-usd", type=float, metavar="USD", help="stop where new answers have cost so much"
    )
    parser.add_argument(
        "--judge", metavar="MODEL", help="let this model judge what has a rubric: not the one asked"
    )
    parser.add_argument(
        "--judge-itself", action="store_true", help="let a model judge its own answers all the same"
    )
    parser.add_argument(
        "--calibrate", action="store_true", help="measure the judge on evals/labelled/judge.jsonl"
    )
    kept = parser.add_mutually_exclusive_group()
    for mode, what in (
        ("record", "ask the model, and keep its answers in evals/recordings"),
        ("replay", "take the answers in evals/recordings, and ask no model"),
        ("live", "ask the model, also where its answer is in the cache of this machine"),
    ):
        kept.add_argument(f"--{mode}", dest="mode", action="store_const", const=mode, help=what)
    parser.set_defaults(mode="cache")


def configured(settings: Settings, options: argparse.Namespace) -> Settings:
    """Return the settings with the model and the prompts that `options` name."""
    prompts = dict(name_and_version(given) for given in options.prompt)
    chosen: dict[str, object] = {"prompts": {**settings.llm.prompts, **prompts}}
    # No other answers under the name of the one that is asked.
    chosen["fallback_models"] = ()
    model = options.model or (_recorded_model() if options.mode == "replay" else None)
    if model:
        chosen["model"] = model
    update: dict[str, object] = {"llm": settings.llm.model_copy(update=chosen)}
    if options.mode == "replay":
        # No model is asked, so no key is needed.
        keys = {f"{provider}_api_key": key for provider, key in settings.provider_keys.items()}
        update |= {name: key or SecretStr("replayed") for name, key in keys.items()}
    return settings.model_copy(update=update)


@asynccontextmanager
async def open_models(
    service: Service, settings: Settings, options: argparse.Namespace
) -> AsyncGenerator[Service]:
    """Put around each model what counts, keeps and finds its answers, and open the judge."""
    mode: Mode = options.mode
    folder = CACHE if mode in ("cache", "live") else _MODEL.parent
    answers = Answers(folder, mode, options.max_usd)
    asked = service.resources.models
    # A recording is replayed where there is no server.
    url = settings.llm.base_url if folder == CACHE else None
    where = f" {url}" if url else ""
    asked.put_around(lambda model_id, model: answers.around(model_id, model, where))
    replayed = mode == "replay"
    service = replace(service, replayed=replayed, spent_usd=lambda: answers.spent_usd)
    if not (options.judge or options.calibrate):
        yield service
        _note_the_model(asked.ids[0], mode)
        return
    name = choose(options.judge, asked.ids[0], may_be_generator=options.judge_itself)
    alone = settings.llm.model_copy(update={"model": name, "fallback_models": ()})
    if provider_of(name) != provider_of(asked.ids[0]):
        # The server of the model that is asked is not the judge's.
        alone = alone.model_copy(update={"base_url": None})
    async with models.open_models(
        alone,
        settings.provider_keys,
        deadline_seconds=settings.server.request_seconds,
        offline=offline_model(judge_by_words),
    ) as opened:
        opened.put_around(answers.around)
        judge = Judge(opened.get(), name)
        labels = calibration.Labels.read(LABELLED)
        if options.calibrate:
            print(await _calibrated(judge, labels))
        yield replace(
            service,
            judged=lambda found: _with_judge(found, judge, opened.get()),
            advisory=_advisory(judge, labels) | {CLAIMS},
        )
    _note_the_model(asked.ids[0], mode)


def _with_judge(found: Eval[Any, Any], judge: Judge, model: Model) -> Eval[Any, Any]:
    asked = [] if found.rubric is None else [Rubric(judge, found.rubric, evaluation_name=_JUDGED)]
    return replace(found, evaluators=[*found.evaluators, *asked, *found.claims(model)])


async def _calibrated(judge: Judge, labels: calibration.Labels) -> str:
    """Measure the judge, keep what was found, and return it as text."""
    found = await calibration.calibrate(judge, labels)
    path = calibration.save(found, CALIBRATIONS)
    rows = [f"{what:<18} {value}" for what, value in found.rows]
    differ = [on_one_line(f"{d.case.question}: {d.critique}") for d in found.disagreements]
    return "\n".join([*rows, found.why_not() or f"{judge.name} may gate: {path}", *differ])


def _advisory(judge: Judge, labels: calibration.Labels) -> frozenset[str]:
    """Return the judge's check where no case may fail by it; say why."""
    try:
        why_not = calibration.load(CALIBRATIONS, judge, labels).why_not()
    except calibration.NotCalibrated as error:
        why_not = str(error)
    if not why_not:
        return frozenset()
    _log.warning("The judge does not gate. %s", why_not)
    return frozenset({_JUDGED})


def _note_the_model(name: str, mode: Mode) -> None:
    """Note which model was recorded, once its answers are there."""
    if mode == "record":
        _MODEL.write_text(f"{name}\n")


def _recorded_model() -> str:
    if not _MODEL.exists():
        raise Unanswered("There are no recordings yet: `poe eval --record --model …` makes them.")
    return _MODEL.read_text().strip()


def name_and_version(given: str) -> tuple[str, str]:
    """Return the two parts of `chat@2`."""
    name, at, version = given.partition("@")
    if not at:
        raise ValueError(f"a version of a prompt is NAME@VERSION, such as chat@2, not {given!r}")
    return name, version
