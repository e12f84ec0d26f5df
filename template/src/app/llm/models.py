"""The one place that turns settings into models: which there are, and what stands behind each."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import structlog
from httpx2 import Timeout
from pydantic_ai import ConcurrencyLimiter
from pydantic_ai.models import Model, create_async_httpx2_client
from pydantic_ai.models.concurrency import ConcurrencyLimitedModel

from app.llm.failures import reaching
from app.llm.retry import RetryingModel, Sleep
from app.llm.settings import OFFLINE, Keys, LLMSettings, provider_of

from app.errors import NotFound

_log = structlog.stdlib.get_logger("app.llm")


class UnknownModel(NotFound):
    code = "model_not_found"


@dataclass(frozen=True)
class Models:
    """The models that callers may choose from, by id; the configured one comes first."""

    by_id: dict[str, Model]
    # Provider -> the client of its SDK.
    clients: Mapping[str, Any]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.by_id)

    def get(self, model_id: str | None = None) -> Model:
        """Return the model `model_id`; the configured one has the fallbacks behind it."""
        model = self.by_id.get(self.ids[0] if model_id is None else model_id)
        if model is None:
            choice = ", ".join(self.ids)
            raise UnknownModel(f"There is no model {model_id!r}: choose {choice}.", param="model")
        return model

    def put_around(self, around: Callable[[str, Model], Model]) -> None:
        """Put something around each model, such as what counts or records its answers."""
        self.by_id.update({id: around(id, model) for id, model in self.by_id.items()})

    def announce(self) -> None:
        """Log which models answer; that no real one does is worth a warning."""
        log = _log.warning if self.ids == (OFFLINE,) else _log.info
        log("models that answer", ids=self.ids)

    async def check(self, *, thorough: bool = False) -> str:
        """Say which models there are; a thorough check asks each provider about its key."""
        if thorough:
            for provider, client in self.clients.items():
                listed: list[str] = []
                with reaching(provider):
                    listed = [model.id async for model in client.models.list()]
                names = [id.partition(":")[2] for id in self.ids if provider_of(id) == provider]
                for name in names if listed else ():
                    # A name without a date stands for the newest that has one.
                    dated = re.compile(re.escape(name) + r"(-[\d-]+)?")
                    if not any(map(dated.fullmatch, listed)):
                        raise UnknownModel(f"{provider} does not list {name!r} among its models.")
        return ", ".join(self.ids)


@asynccontextmanager
async def open_models(
    settings: LLMSettings,
    keys: Keys,
    *,
    deadline_seconds: float,
    offline: Model,
    around: Callable[[Model], Model] = lambda model: model,
    sleep: Sleep = asyncio.sleep,
) -> AsyncGenerator[Models]:
    """Open the configured models; `around` is put around each, inside of retries and fallbacks.

    A call is given up that could only be tried again `deadline_seconds` after its start.
    """
    ids = _configured(settings, keys)
    offline = around(offline)
    if ids == (OFFLINE,):
        yield Models({OFFLINE: offline}, {})
        return
    limiter = ConcurrencyLimiter(settings.max_concurrency, name="models")
    async with create_async_httpx2_client(timeout=Timeout(deadline_seconds, connect=5)) as http:
        built: dict[str, Model] = {OFFLINE: offline}
        clients: dict[str, Any] = {}
        for model_id in set(ids) - {OFFLINE}:
            kind, _, name = model_id.partition(":")
            key = keys[provider := provider_of(model_id)]
            secret = key.get_secret_value() if key else None
            base_url = settings.base_url if provider == provider_of(ids[0]) else None
            model = _module(provider).build(kind, name, secret, base_url and str(base_url), http)
            clients[provider] = model.client
            built[model_id] = ConcurrencyLimitedModel(around(model), limiter)
        retrying = partial(
            RetryingModel, settings=settings, deadline_seconds=deadline_seconds, sleep=sleep
        )
        alone: dict[str, Model] = {model_id: retrying(built[model_id]) for model_id in ids}
        yield Models(alone | {ids[0]: retrying(*map(built.__getitem__, ids))}, clients)


def _configured(settings: LLMSettings, keys: Keys) -> tuple[str, ...]:
    first = next((provider for provider, key in keys.items() if key), None)
    model = settings.model or (_module(first).DEFAULT_MODEL if first else OFFLINE)
    ids = tuple(dict.fromkeys((model, *settings.fallback_models)))
    if settings.base_url and model == OFFLINE:
        raise ValueError("LLM__BASE_URL needs LLM__MODEL to name a model there; offline is none")
    kinds = [f"{kind}:…" for kind in (*keys, "openai-chat") if provider_of(kind) in keys]
    for model_id in set(ids) - {OFFLINE}:
        if provider_of(model_id) not in keys or not model_id.partition(":")[2]:
            raise ValueError(
                f"{model_id!r} is no model here: LLM__MODEL takes {', '.join(kinds)} or offline"
                " (`uvx copier update` asks again for the provider)"
            )
    if ids != (OFFLINE,) and (missing := settings.missing_keys(keys)):
        raise ValueError(f"{' and '.join(ids)} cannot be asked without {' and '.join(missing)}")
    return ids


def _module(provider: str) -> Any:
    return import_module(f"app.llm.providers.{provider}")
