"""What a model has answered before: a cache for this machine, and recordings that are committed.

An answer is known by all that decides it: the model, its settings, and the messages with the
rendered prompt in them. Asked the same twice in a run (`--repeat`), it is another answer.
"""

import asyncio
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_evals import increment_eval_metric

from app.llm.calls import price_usd
from app.llm.failures import ProviderFailed
from app.llm.settings import OFFLINE

from evals.engine.running import KEPT, Unanswered

Mode = Literal["live", "cache", "record", "replay"]
_RESPONSE: TypeAdapter[ModelResponse] = TypeAdapter(ModelResponse)
# What differs between two requests that say the same.
_INCIDENTAL = {"timestamp", "run_id", "conversation_id", "tool_call_id", "metadata"}


@dataclass
class Account:
    """What model calls come to that another task makes than the one of the case they are for."""

    counts: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    # What the last one raised that came to nothing.
    trouble: Exception | None = None

    @contextmanager
    def open(self) -> Iterator[None]:
        """Have what is called in the body, and in tasks that it begins, count here."""
        token = _ACCOUNT.set(self)
        try:
            yield
        finally:
            _ACCOUNT.reset(token)

    def settle(self) -> None:
        """Count all of it for the case that is running."""
        for name, amount in self.counts.items():
            increment_eval_metric(name, amount)


_ACCOUNT: ContextVar[Account | None] = ContextVar("account", default=None)


def _count(name: str, amount: float) -> None:
    if account := _ACCOUNT.get():
        account.counts[name] += amount
    else:
        increment_eval_metric(name, amount)


@dataclass
class Answers:
    """The answers in `folder`, and what asking for new ones has cost."""

    folder: Path
    mode: Mode = "live"
    most_usd: float | None = None
    spent_usd: Decimal = Decimal(0)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _asked: Counter[str] = field(default_factory=Counter)

    def around(self, model_id: str, model: Model, where: str = "") -> Model:
        """Put this around a model; `where` tells its server from others that serve such a name.

        The offline model costs nothing and is asked each time.
        """
        if model_id != OFFLINE:
            return _Recorder(model, f"{model_id}{where}", self)
        if self.mode == "record":
            raise Unanswered("The offline model is no model to record: name one with --model.")
        return _Counted(model)

    def find(self, digest: str) -> ModelResponse | None:
        if self.mode in ("live", "record"):
            return None
        path = self._path(digest)
        if not path.is_file():
            if self.mode == "replay":
                raise Unanswered(f"{path} is no recording: make one with `poe eval --record`.")
            return None
        try:
            return _RESPONSE.validate_json(path.read_bytes())
        except ValidationError as error:
            if self.mode == "cache":
                return None
            raise Unanswered(f"{path} cannot be read: delete it, and record it again.") from error

    def keep(self, digest: str, response: ModelResponse) -> None:
        ended = {"finish_reason", "refusal"} & (response.provider_details or {}).keys()
        if ended and response.finish_reason != "error":
            path = self._path(digest)
            path.parent.mkdir(parents=True, exist_ok=True)
            if self.mode != "record":
                (self.folder / ".gitignore").write_text("*\n")
            draft = path.with_suffix(".draft")
            draft.write_bytes(_RESPONSE.dump_json(response, indent=1) + b"\n")
            draft.replace(path)

    def pay(self, model_id: str, price: Decimal | None) -> None:
        """Count what was spent; raise where nobody can tell, and there is a ceiling."""
        if price is None and self.most_usd is not None:
            raise Unanswered(f"What {model_id} costs is not known, so --max-usd cannot hold.")
        self.spent_usd += price or 0

    def refuse_to_overspend(self) -> None:
        if self.most_usd is not None and self.spent_usd >= self.most_usd:
            raise Unanswered(
                f"{self.spent_usd:.4f} USD are spent, and --max-usd allows {self.most_usd:g}."
            )

    def number(self, digest: str) -> str:
        """Tell apart the times that the same is asked."""
        self._asked[digest] += 1
        return f"{digest}-{self._asked[digest]}"

    def delete_what_was_not_asked(self) -> None:
        asked = {
            self._path(f"{digest}-{number}")
            for digest, times in self._asked.items()
            for number in range(1, times + 1)
        }
        for path in {*self.folder.glob("*.json")} - asked:
            path.unlink()

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.json"


def digest_of(
    model_id: str,
    messages: list[ModelMessage],
    settings: ModelSettings | None,
    parameters: ModelRequestParameters,
) -> str:
    """Return what tells one request from another, on any machine and at any time."""
    said = _without_incidentals(ModelMessagesTypeAdapter.dump_python(messages, mode="json"))
    asked = {"model": model_id, "messages": said, "settings": settings, "parameters": parameters}
    content = json.dumps(asked, sort_keys=True, default=_plain)
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def _without_incidentals(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_incidentals(v) for k, v in value.items() if k not in _INCIDENTAL}
    return [_without_incidentals(v) for v in value] if isinstance(value, list) else value


def _plain(value: object) -> Any:
    return TypeAdapter(type(value)).dump_python(value, mode="json", fallback=repr)


class _Counted(WrapperModel):
    """Counts tokens and cost for the case that is running; nobody counts a stream."""

    def request_stream(self, *_: Any, **__: Any) -> Any:
        raise Unanswered("Evals cannot ask for a stream: ask for the whole answer.")

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        try:
            response = await self.answer(messages, model_settings, model_request_parameters)
        except Exception as error:
            if account := _ACCOUNT.get():
                account.trouble = error
                # The case raises it; the run it was for has no fault to log.
                raise ProviderFailed("It could not be asked.") from error
            raise
        # Not called as OpenTelemetry calls them, or pydantic-evals adds those of the spans.
        _count("tokens_in", response.usage.input_tokens)
        _count("tokens_out", response.usage.output_tokens)
        price = price_usd(response)
        _count("unpriced", int(price is None))
        _count("usd", float(price or 0))
        return response

    async def answer(
        self,
        messages: list[ModelMessage],
        settings: ModelSettings | None,
        parameters: ModelRequestParameters,
    ) -> ModelResponse:
        return await self.wrapped.request(messages, settings, parameters)


class _Recorder(_Counted):
    def __init__(self, wrapped: Model, model_id: str, answers: Answers) -> None:
        super().__init__(wrapped)
        self.model_id_asked = model_id
        self.answers = answers

    async def answer(
        self,
        messages: list[ModelMessage],
        settings: ModelSettings | None,
        parameters: ModelRequestParameters,
    ) -> ModelResponse:
        asked = digest_of(self.model_id_asked, messages, settings, parameters)
        digest = self.answers.number(asked)
        if found := self.answers.find(digest):
            _count(KEPT, 1)
            return found
        # One by one where there is a ceiling, or all that are asked at once could go beyond it.
        async with self.answers.turn if self.answers.most_usd is not None else nullcontext():
            self.answers.refuse_to_overspend()
            response = await super().answer(messages, settings, parameters)
            self.answers.keep(digest, response)
            self.answers.pay(self.model_id_asked, price_usd(response))
        return response
