"""Which models answer and judge, and where their answers are kept: the options of `poe eval`."""

import argparse
import math
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from app.llm import models
from app.llm.offline import offline_model
from app.llm.settings import provider_of

from app.settings import Settings
from evals.engine import judging, recordings
from evals.engine.offline_judge import judge_by_words
from evals.engine.recorder import Answers, Mode
from evals.engine.running import Service
from evals.evaluators.judge import Judge, choose

CACHE: Final = Path(".evals/cache")


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add what can be chosen of the models."""
    parser.add_argument("--model", help="ask this model, as LLM__MODEL names it")
    parser.add_argument(
        "--prompt", action="append", default=[], metavar="NAME@VERSION", help="use this version"
    )
    parser.add_argument(
        "--max-usd", type=_usd, metavar="USD", help="stop where new answers have cost so much"
    )
    parser.add_argument(
        "--judge", metavar="MODEL", help="let this model judge what has a rubric: not the one asked"
    )
    parser.add_argument(
        "--judge-itself", action="store_true", help="let a model judge its own answers all the same"
    )
    parser.add_argument(
        "--calibrate", action="store_true", help="measure the judge on evals/labelled/judge*.jsonl"
    )
    kept = parser.add_mutually_exclusive_group()
    for mode, what in (
        ("record", "ask the model, and keep its answers in evals/recordings"),
        ("replay", "take the answers in evals/recordings, and ask no model"),
        ("live", "ask the model, also where its answer is in the cache of this machine"),
    ):
        kept.add_argument(f"--{mode}", dest="mode", action="store_const", const=mode, help=what)
    parser.set_defaults(mode="cache")


def _usd(text: str) -> float:
    with suppress(ValueError):
        if 0 <= float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"an amount of dollars is 0 or more, not {text}")


def configured(settings: Settings, options: argparse.Namespace) -> Settings:
    """Return the settings with the model and the prompts that `options` name."""
    if options.judge is None and (options.judge_itself or options.calibrate):
        raise ValueError("--judge-itself and --calibrate are about a judge: name it with --judge.")
    prompts = dict(name_and_version(given) for given in options.prompt)
    chosen: dict[str, object] = {"prompts": {**settings.llm.prompts, **prompts}}
    # No other answers under the name of the one that is asked.
    chosen["fallback_models"] = ()
    model = options.model or (recordings.model() if options.mode == "replay" else None)
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
    folder = CACHE if mode in ("cache", "live") else recordings.FOLDER
    answers = Answers(folder, mode, options.max_usd)
    asked = service.resources.models
    # A recording is replayed where there is no server.
    url = settings.llm.base_url if folder == CACHE else None
    where = f" {url}" if url else ""
    asked.put_around(lambda model_id, model: answers.around(model_id, model, where))
    some = bool(options.name)
    if mode == "record" and some:
        recordings.refuse_another_model(asked.ids[0])
    replayed = mode == "replay"
    service = replace(service, replayed=replayed, spent_usd=lambda: answers.spent_usd)
    async with AsyncExitStack() as stack:
        if options.judge is not None:
            judge = await stack.enter_async_context(
                _open_judge(asked.ids[0], settings, options, answers)
            )
            labels = judging.labels()
            if options.calibrate:
                print(await judging.measured(judge, labels))
            service = judging.with_judge(service, judge, labels)
        yield service
    if mode == "record":
        recordings.finish(asked.ids[0], answers, some=some)


@asynccontextmanager
async def _open_judge(
    asked: str, settings: Settings, options: argparse.Namespace, answers: Answers
) -> AsyncGenerator[Judge]:
    name = choose(options.judge, asked, may_be_generator=options.judge_itself)
    alone = settings.llm.model_copy(update={"model": name, "fallback_models": ()})
    if provider_of(name) != provider_of(asked):
        # The server of the model that is asked is not the judge's.
        alone = alone.model_copy(update={"base_url": None})
    async with models.open_models(
        alone,
        settings.provider_keys,
        deadline_seconds=settings.server.request_seconds,
        offline=offline_model(judge_by_words),
    ) as opened:
        opened.put_around(answers.around)
        yield Judge(opened.get(), name)


def name_and_version(given: str) -> tuple[str, str]:
    """Return the two parts of `chat@2`."""
    name, at, version = given.partition("@")
    if not at:
        raise ValueError(f"a version of a prompt is NAME@VERSION, such as chat@2, not {given!r}")
    return name, version
