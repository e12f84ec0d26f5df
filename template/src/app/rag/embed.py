"""Turn texts into vectors whose dot product is the cosine: each has length 1.

A model is known by what is stored beside its vectors, such as `openai:text-embedding-3-small`:
vectors of two models cannot be compared. One layer tries a request again; the SDK's own does not.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from math import ceil, hypot
from typing import Any, Final

import structlog
import tenacity
from httpx2 import AsyncClient, Timeout
from pydantic import SecretStr
from pydantic_ai import exceptions as e
from pydantic_ai.embeddings import EmbeddingModel, infer_embedding_model
from pydantic_ai.embeddings.result import EmbedInputType
from pydantic_ai.models import create_async_httpx2_client
from pydantic_ai.providers import Provider, infer_provider

from app.rag.offline import OfflineEmbedding, open_offline
from app.rag.settings import RAGSettings

from app.errors import BadRequest, ServiceError, TooManyRequests, Unavailable

OFFLINE: Final = "offline"
Sleep = Callable[[float], Awaitable[None]]
Vector = Sequence[float]
_log = structlog.stdlib.get_logger("app.rag")


class EmbeddingFailed(ServiceError):
    status, code = 502, "provider_error"


@dataclass
class Embeddings:
    """Embeds with one model; what goes wrong is a `ServiceError`: 429 and 503 may pass, 502 not."""

    embedding_model: EmbeddingModel
    # How long one try of a request may take, how often it is tried, and how many texts it holds.
    timeout_seconds: float
    attempts: int
    batch_size: int
    sleep: Sleep = asyncio.sleep
    _dimensions: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if isinstance(self.embedding_model, OfflineEmbedding):
            self._dimensions = self.embedding_model.dimensions

    @property
    def model(self) -> str:
        """The identity to store beside vectors; where the model is served is no part of it."""
        return f"{self.embedding_model.system}:{self.embedding_model.model_name}"

    def put_around(self, around: Callable[[EmbeddingModel], EmbeddingModel]) -> None:
        """Put something around the model, such as what counts its tokens."""
        self.embedding_model = around(self.embedding_model)

    async def documents(self, texts: Sequence[str]) -> list[Vector]:
        """Return the vectors of texts that are to be found, in their order."""
        vectors: list[Vector] = []
        for start in range(0, len(texts), self.batch_size):
            vectors += await self._persist(texts[start : start + self.batch_size], "document")
        return vectors

    async def query(self, text: str) -> Vector:
        """Return the vector of a text that is to find others."""
        return (await self._persist([text], "query"))[0]

    async def dimensions(self) -> int:
        """Return the length of each vector; a provider's model is asked for one, once."""
        if self._dimensions is None:
            self._dimensions = len(await self.query("word"))
        return self._dimensions

    async def check(self, *, thorough: bool = False) -> str:
        """Describe the model; a thorough check embeds one word, and tries that once."""
        if thorough:
            with _translated():
                await self._request(["word"], "query")
        nature = getattr(self.embedding_model, "nature", "")
        return f"{self.model} {nature}".strip()

    async def _persist(self, texts: Sequence[str], kind: EmbedInputType) -> list[Vector]:
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(may_pass),
            # Who is told to wait for longer than all tries may take gives up at once.
            stop=tenacity.stop_after_attempt(self.attempts)
            | tenacity.stop_before_delay(self.attempts * self.timeout_seconds),
            wait=tenacity.wait_exception(lambda error: getattr(error, "retry_after", None) or 0)
            + tenacity.wait_random_exponential(multiplier=0.5, max=8),
            before_sleep=_log_retry,
            sleep=self.sleep,
            reraise=True,
        )
        with _translated():
            return await retrying(self._request, texts, kind)

    async def _request(self, texts: Sequence[str], kind: EmbedInputType) -> list[Vector]:
        # No request can hold half of a surrogate pair.
        sendable = [text.encode(errors="replace").decode() for text in texts]
        async with asyncio.timeout(self.timeout_seconds):
            result = await self.embedding_model.embed(sendable, input_type=kind)
        if len(result.embeddings) != len(texts):
            raise e.UnexpectedModelBehavior("There are not as many vectors as texts.")
        return [_of_length_1(vector) for vector in result.embeddings]


@asynccontextmanager
async def open_embeddings(
    settings: RAGSettings, openai_key: SecretStr | None, *, sleep: Sleep = asyncio.sleep
) -> AsyncGenerator[Embeddings]:
    """Open the configured model; providers other than OpenAI read environment variables.

    Raises a `ValueError` for a model that cannot be used.
    """
    model, url = settings.embedding_model or OFFLINE, settings.embedding_base_url
    if url and not model.startswith("openai:"):
        raise ValueError(f"RAG__EMBEDDING_BASE_URL needs a model of openai:…, not {model!r}")
    async with AsyncExitStack() as stack:
        if model == OFFLINE:
            opened: EmbeddingModel = await asyncio.to_thread(open_offline)
        else:
            timeout = Timeout(settings.embedding_timeout_seconds, connect=5)
            http = await stack.enter_async_context(create_async_httpx2_client(timeout=timeout))
            opened, provider = _of_provider(model, openai_key, str(url) if url else None, http)
            await stack.enter_async_context(provider)
        yield Embeddings(
            opened,
            settings.embedding_timeout_seconds,
            settings.embedding_attempts,
            settings.embedding_batch_size,
            sleep,
        )


def _of_provider(
    model: str, key: SecretStr | None, base_url: str | None, http: AsyncClient
) -> tuple[EmbeddingModel, Provider[Any]]:
    try:
        kind, _, name = model.partition(":")
        if not name:
            raise ValueError("it takes offline, or one such as openai:text-embedding-3-small")
        provider = _openai(key, base_url, http) if kind == "openai" else infer_provider(kind)
        if hasattr(provider.client, "max_retries"):
            provider.client.max_retries = 0
        return infer_embedding_model(model, provider_factory=lambda _: provider), provider
    except (ImportError, ValueError, e.UserError) as error:
        needed = re.search(r"(?<=`)[A-Z_]+(?=`)|pydantic-ai-slim\[.+?\]", str(error))
        why = f"it needs {needed[0]}" if needed else error
        raise ValueError(f"RAG__EMBEDDING_MODEL cannot be {model!r}: {why}") from error


def _openai(key: SecretStr | None, base_url: str | None, http: AsyncClient) -> Provider[Any]:
    from pydantic_ai.providers.openai import OpenAIProvider

    if not (key or base_url):
        raise ValueError("it needs OPENAI_API_KEY")
    # A server of one's own often has no keys.
    secret = key.get_secret_value() if key else "none"
    return OpenAIProvider(api_key=secret, base_url=base_url, http_client=http)


def may_pass(error: BaseException) -> bool:
    """Say whether the same request may succeed later."""
    hint: bool | None = getattr(error, "provider_retry_hint", None)
    if hint is not None:
        return hint
    passing = e.ModelRateLimitError | e.ModelUnavailableError | e.ModelServerError
    passes = isinstance(error, passing | e.ModelConnectionError | TimeoutError)
    return passes or getattr(error, "status_code", None) in (408, 409)


@contextmanager
def _translated() -> Iterator[None]:
    """Raise whatever a provider or its SDK raises as a `ServiceError` that repeats none of it."""
    try:
        yield
    except ServiceError:
        raise  # What stands around the model says so itself.
    except Exception as error:
        _log.warning("embedding failed", error=type(error).__name__)
        raise _service_error(error) from error


def _service_error(error: Exception) -> ServiceError:
    later = {"Retry-After": str(ceil(getattr(error, "retry_after", None) or 1))}
    match error:
        case e.ModelRateLimitError():
            return TooManyRequests("The embedding model's provider limits the rate.", headers=later)
        case _ if may_pass(error):
            return Unavailable("The embedding model cannot answer at the moment.", headers=later)
        case e.ModelContextWindowExceededError():
            return BadRequest("A text is too long for the embedding model.")
        case e.ModelAuthenticationError():
            fault = "refuses this service's key"
        case e.ModelQuotaExceededError():
            fault = "has an empty account for this service"
        case e.ModelNotFoundError():
            fault = f"does not have {error.model_name!r}"
        case _:
            fault = "failed, or gave an answer that cannot be used"
    return EmbeddingFailed(f"The embedding model's provider {fault}.")


def _of_length_1(vector: Vector) -> Vector:
    length = hypot(*vector)
    if not length:
        # A text without words has no direction of its own, but a zero would have no cosine.
        return [len(vector) ** -0.5] * len(vector)
    return vector if abs(length - 1) < 1e-6 else [value / length for value in vector]


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = type(state.outcome and state.outcome.exception()).__name__
    _log.warning("embedding is tried again", error=error, after_seconds=state.upcoming_sleep)
