"""Settings of the documents: `RAG__EMBEDDING_MODEL=…` sets `settings.rag.embedding_model`."""

from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
)


class RAGSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    # `openai:text-embedding-3-small`, or another that pydantic-ai has; without one, `offline`.
    # Another one needs another index: `poe ingest --rebuild`.
    embedding_model: str | None = None
    # Another server for `openai:…`: a gateway, or Ollama at http://localhost:11434/v1.
    embedding_base_url: HttpUrl | None = None
    # Texts in one request, how often it is tried, and how long each try may take.
    embedding_batch_size: PositiveInt = 64
    embedding_attempts: PositiveInt = 3
    embedding_timeout_seconds: PositiveFloat = 30
    # What Postgres knows of the words: one of `SELECT cfgname FROM pg_ts_config`, or `simple`.
    language: Annotated[str, StringConstraints(pattern=r"^[a-z_]+$")] = "english"
    chunk_tokens: Annotated[int, Field(ge=32, le=2_000)] = 256
    # How many chunks each way of searching contributes before the two are merged.
    candidates: Annotated[int, Field(ge=10, le=400)] = 30
    # How closely the index by meaning is searched, from `candidates` up; more finds more, slower.
    ef_search: Annotated[int, Field(ge=10, le=1_000)] = 100
    # The rarest words of a question are searched, as long as so many chunks hold them together:
    # of all principals, for that is what Postgres counts.
    ranked_chunks: PositiveInt = 2_000

    def missing_in_production(self) -> list[str]:
        """Name what has to be chosen: changing it later means to make the index again."""
        return [] if self.embedding_model else ["RAG__EMBEDDING_MODEL"]
