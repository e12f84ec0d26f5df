"""Watch searches, and what turns texts into vectors."""

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.trace import SpanKind
from pydantic_ai.embeddings import EmbeddingModel, EmbeddingSettings
from pydantic_ai.embeddings.result import EmbeddingResult, EmbedInputType
from pydantic_ai.embeddings.wrapper import WrapperEmbeddingModel

from app.monitoring import names
from app.monitoring.metering import Asked, Metering
from app.monitoring.metrics import Labels
from app.monitoring.traces import Monitor
from app.rag.retrieve import Passage, Retrieves


class MonitoredEmbedding(WrapperEmbeddingModel):
    """Embeds as the model does, and notes it."""

    def __init__(self, wrapped: EmbeddingModel, monitor: Monitor) -> None:
        super().__init__(wrapped)
        self._monitor = monitor

    async def embed(
        self,
        inputs: str | Sequence[str],
        *,
        input_type: EmbedInputType,
        settings: EmbeddingSettings | None = None,
    ) -> EmbeddingResult:
        model = self.wrapped
        labels: Labels = {names.PROVIDER: model.system, names.REQUEST_MODEL: model.model_name}
        with self._monitor.watch(
            names.EMBEDDINGS, model.model_name, labels, kind=SpanKind.CLIENT
        ) as asked:
            result = await model.embed(inputs, input_type=input_type, settings=settings)
            used = {names.INPUT_TOKENS: result.usage.input_tokens}
            self._monitor.metrics.count_tokens(used, asked.labels)
            asked.span.set_attributes(used)
            for vector in result.embeddings[:1]:
                asked.span.set_attribute(names.DIMENSIONS, len(vector))
            return result


class MeteredEmbedding(WrapperEmbeddingModel):
    """Embeds as the model does, and meters it."""

    def __init__(self, wrapped: EmbeddingModel, metering: Metering) -> None:
        super().__init__(wrapped)
        metering.require_price(wrapped.system, wrapped.model_name, wrapped.base_url)
        self._metering = metering

    async def embed(
        self,
        inputs: str | Sequence[str],
        *,
        input_type: EmbedInputType,
        settings: EmbeddingSettings | None = None,
    ) -> EmbeddingResult:
        model = self.wrapped
        size = sum(len(text.encode()) for text in ([inputs] if isinstance(inputs, str) else inputs))
        asked = Asked(model.system, model.model_name, model.base_url, size)
        async with self._metering.call(asked) as answered:
            result = await model.embed(inputs, input_type=input_type, settings=settings)
            answered.usage, answered.model = result.usage, result.model_name
            answered.is_whole, answered.outcome = True, "stop"
            return result


class MonitoredRetriever:
    """Searches as the retriever does, and notes it."""

    def __init__(self, retriever: Retrieves, monitor: Monitor) -> None:
        self._retriever = retriever
        self._monitor = monitor

    async def retrieve(
        self,
        principal: str,
        query: str,
        *,
        limit: int = 8,
        filter: Mapping[str, Any] | None = None,
    ) -> list[Passage]:
        """Return what the retriever does."""
        source = "documents"
        with self._monitor.watch(names.RETRIEVAL, source, {names.DATA_SOURCE: source}) as search:
            search.span.set_attribute(names.TOP_K, limit)
            self._monitor.note_content(search, names.QUERY_TEXT, lambda: query)
            found = await self._retriever.retrieve(principal, query, limit=limit, filter=filter)
            search.span.set_attribute(names.FOUND, len(found))
            self._monitor.note_content(
                search,
                names.DOCUMENTS,
                lambda: [{"id": p.chunk_id, "score": p.score, "content": p.text} for p in found],
            )
            return found
