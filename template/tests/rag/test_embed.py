"""Vectors: whose they are, how they are asked for, and what is said when there are none."""

import asyncio
import hashlib
import math
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib.util import find_spec
from typing import Any

import pytest
from pydantic import HttpUrl, SecretStr
from pydantic_ai.embeddings import EmbeddingResult, TestEmbeddingModel
from pydantic_ai.embeddings.result import EmbedInputType

from app.rag.embed import EmbeddingFailed, Embeddings, Sleep, open_embeddings
from app.rag.offline import HashEmbedding, OfflineEmbedding, WordLlamaEmbedding, open_offline
from app.rag.settings import RAGSettings

from app.errors import BadRequest, ServiceError, TooManyRequests, Unavailable
from tests.rag.embedding_stub import EmbeddingStub, Reply, running_stub

KEY = "sk-a-key-that-opens-nothing"
MODEL = "openai:text-embedding-3-small"
BUSY = Reply(429, {"Retry-After": "7"}, "rate_limit_exceeded")
DOWN = Reply(500)

# What runs on this machine; an id says where that is one model fewer.
if find_spec("wordllama"):
    OFFLINE_MODELS = {"hash": HashEmbedding, "wordllama": WordLlamaEmbedding}
else:
    OFFLINE_MODELS = {"hash, wordllama is not installed": HashEmbedding}
on_this_machine = pytest.mark.parametrize("make", OFFLINE_MODELS.values(), ids=OFFLINE_MODELS)

Open = Callable[..., AbstractAsyncContextManager[Embeddings]]


class Waits(list[float]):
    """Sleeps by writing down how long."""

    async def sleep(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddingStub]:
    with running_stub() as stub:
        yield stub


@pytest.fixture
def stub(server: EmbeddingStub) -> Iterator[EmbeddingStub]:
    """A local server that is OpenAI; what a test leaves unsaid is its failure."""
    yield server
    left = list(server.replies)
    server.replies.clear()
    server.received.clear()
    server.keys.clear()
    assert not left, f"the stub was not asked for {left}"


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def opened(stub: EmbeddingStub, waits: Waits) -> Open:
    """Opens the stub's model."""
    return partial(open_model, MODEL, key=KEY, base_url=stub.base_url, sleep=waits.sleep)


def open_model(
    model: str,
    *,
    key: str | None = None,
    base_url: str | None = None,
    timeout_seconds: float = 5,
    attempts: int = 3,
    batch_size: int = 100,
    sleep: Sleep | None = None,
) -> AbstractAsyncContextManager[Embeddings]:
    settings = RAGSettings(
        embedding_model=model,
        embedding_base_url=HttpUrl(base_url) if base_url else None,
        embedding_timeout_seconds=timeout_seconds,
        embedding_attempts=attempts,
        embedding_batch_size=batch_size,
    )
    secret = SecretStr(key) if key else None
    return open_embeddings(settings, secret, sleep=sleep or Waits().sleep)


def offline(model: OfflineEmbedding) -> Embeddings:
    return Embeddings(model, timeout_seconds=30, attempts=1, batch_size=100)


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_texts_are_sent_in_batches_and_their_vectors_come_in_order(
    stub: EmbeddingStub, opened: Open
) -> None:
    async with opened(batch_size=2) as embeddings:
        vectors = await embeddings.documents(["a", "bb", "ccc", "dddd", "eeeee"])
    assert stub.batches == [["a", "bb"], ["ccc", "dddd"], ["eeeee"]]
    assert [round(vector[1] / vector[0]) for vector in vectors] == [1, 2, 3, 4, 5]
    assert set(stub.keys) == {KEY}
    assert stub.received[0]["model"] == "text-embedding-3-small"


async def test_every_vector_of_a_provider_gets_the_length_1(opened: Open) -> None:
    async with opened() as embeddings:
        for vector in [await embeddings.query("four"), *await embeddings.documents(["a", ""])]:
            assert math.hypot(*vector) == pytest.approx(1)


async def test_nothing_is_asked_for_no_texts(stub: EmbeddingStub, opened: Open) -> None:
    async with opened() as embeddings:
        assert await embeddings.documents([]) == []
    assert stub.received == []


async def test_a_providers_dimensions_are_found_by_one_call(
    stub: EmbeddingStub, opened: Open
) -> None:
    async with opened() as embeddings:
        assert embeddings.model == MODEL
        assert [await embeddings.dimensions() for _ in range(3)] == [2, 2, 2]
    assert len(stub.received) == 1


async def test_half_of_a_surrogate_pair_is_replaced(stub: EmbeddingStub, opened: Open) -> None:
    async with opened() as embeddings:
        await embeddings.query("a \ud83d b")
    assert stub.batches == [["a ? b"]]


async def test_a_limited_rate_is_waited_for_as_long_as_the_provider_says(
    stub: EmbeddingStub, opened: Open, waits: Waits
) -> None:
    stub.script(BUSY)
    async with opened() as embeddings:
        assert len(await embeddings.query("hello")) == 2
    assert 7 <= waits[0] <= 15
    assert len(waits) == 1


@pytest.mark.parametrize(
    ("reply", "raised"), [(DOWN, Unavailable), (Reply(503), Unavailable), (BUSY, TooManyRequests)]
)
async def test_trouble_that_stays_through_all_attempts_may_still_pass_later(
    stub: EmbeddingStub, opened: Open, waits: Waits, reply: Reply, raised: type[ServiceError]
) -> None:
    stub.script(reply, reply, reply)
    async with opened() as embeddings:
        with pytest.raises(raised) as failed:
            await embeddings.query("hello")
    assert len(waits) == 2
    assert (failed.value.headers or {})["Retry-After"] == reply.headers.get("Retry-After", "1")


async def test_only_the_batch_that_failed_is_sent_again(stub: EmbeddingStub, opened: Open) -> None:
    stub.script(Reply(), DOWN)
    async with opened(batch_size=1) as embeddings:
        await embeddings.documents(["a", "b"])
    assert stub.batches == [["a"], ["b"], ["b"]]


async def test_nobody_waits_for_longer_than_all_attempts_may_take(
    stub: EmbeddingStub, opened: Open, waits: Waits
) -> None:
    stub.script(Reply(429, {"Retry-After": "3600"}))
    async with opened() as embeddings:
        with pytest.raises(TooManyRequests) as failed:
            await embeddings.query("hello")
    assert waits == []
    assert (failed.value.headers or {})["Retry-After"] == "3600"


async def test_a_provider_that_is_silent_for_too_long_is_unavailable(
    stub: EmbeddingStub, opened: Open
) -> None:
    gate = threading.Event()
    stub.script(Reply(gate=gate))
    # Long enough for the request to reach the stub while other tests keep the machine busy.
    async with opened(attempts=1, timeout_seconds=0.5) as embeddings:
        with pytest.raises(Unavailable):
            await embeddings.query("hello")
    gate.set()


@pytest.mark.parametrize(
    ("reply", "raised", "said"),
    [
        (Reply(401, code="invalid_api_key", message="Bad: {key}"), EmbeddingFailed, "refuses this"),
        (Reply(429, code="insufficient_quota"), EmbeddingFailed, "empty account"),
        (Reply(404, code="model_not_found"), EmbeddingFailed, "'text-embedding-3-small'"),
        (Reply(400, code="context_length_exceeded"), BadRequest, "too long"),
        (Reply(400, code="invalid_value"), EmbeddingFailed, "cannot be used"),
        (Reply(missing=1), EmbeddingFailed, "cannot be used"),
        (Reply(missing=2), EmbeddingFailed, "cannot be used"),
        (Reply(raw=b"<html>busy</html>"), EmbeddingFailed, "cannot be used"),
        (Reply(raw=b"busy", headers={"Content-Type": "text/plain"}), EmbeddingFailed, "cannot be"),
        (Reply(raw=b'{"data": null}'), EmbeddingFailed, "cannot be used"),
    ],
)
async def test_what_does_not_pass_is_told_at_once_in_the_services_own_words(
    stub: EmbeddingStub, opened: Open, reply: Reply, raised: type[ServiceError], said: str
) -> None:
    stub.script(reply)
    async with opened() as embeddings:
        with pytest.raises(raised, match=said) as failed:
            await embeddings.documents(["one", "two"])
    assert KEY not in failed.value.detail
    assert reply.message not in failed.value.detail


async def test_a_server_that_is_not_there_is_unavailable(waits: Waits) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    base_url = f"http://127.0.0.1:{port}/v1"
    async with open_model(MODEL, base_url=base_url, sleep=waits.sleep) as embeddings:
        with pytest.raises(Unavailable):
            await embeddings.query("hello")
    assert len(waits) == 2


async def test_only_a_thorough_check_asks_the_provider_and_only_once(
    stub: EmbeddingStub, opened: Open
) -> None:
    async with opened() as embeddings:
        assert await embeddings.check() == MODEL
        assert stub.received == []
        stub.script(DOWN)
        with pytest.raises(Unavailable):
            await embeddings.check(thorough=True)
        assert await embeddings.check(thorough=True) == MODEL
    assert len(stub.received) == 2


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("text-embedding-3-small", "it takes offline, or one such as openai:"),
        ("openai:", "it takes offline, or one such as openai:"),
        ("nobody:a-model", "Unknown provider: nobody"),
        (MODEL, "it needs OPENAI_API_KEY"),
    ],
)
async def test_a_model_that_cannot_be_used_is_refused_with_the_reason(
    model: str, said: str
) -> None:
    with pytest.raises(ValueError, match=f"^RAG__EMBEDDING_MODEL cannot be '{model}': {said}"):
        async with open_model(model):
            pass


@pytest.mark.skipif(find_spec("cohere") is not None, reason="cohere is installed")
async def test_a_missing_package_is_named_by_the_extra_that_brings_it() -> None:
    with pytest.raises(ValueError, match=r"^RAG__EMBEDDING_MODEL .*needs pydantic-ai-slim\[cohere"):
        async with open_model("cohere:embed-v4.0"):
            pass


@pytest.mark.parametrize("model", ["offline", "cohere:embed-v4.0"])
async def test_a_base_url_is_for_a_model_that_is_asked_there(model: str) -> None:
    with pytest.raises(ValueError, match=r"^RAG__EMBEDDING_BASE_URL needs a model of openai:"):
        async with open_model(model, base_url="http://127.0.0.1/v1"):
            pass


class OtherModel(TestEmbeddingModel):
    """A provider's of which the service knows nothing; it answers a query at most."""

    async def embed(
        self, inputs: str | Sequence[str], *, input_type: EmbedInputType, settings: Any = None
    ) -> EmbeddingResult:
        if input_type == "document":
            await asyncio.Event().wait()
        return await super().embed(inputs, input_type=input_type, settings=settings)


async def test_any_embedding_model_of_pydantic_ai_will_do() -> None:
    embeddings = Embeddings(OtherModel(), timeout_seconds=5, attempts=1, batch_size=10)
    assert embeddings.model == "test:test"
    assert len(await embeddings.query("hello")) == await embeddings.dimensions()


async def test_a_model_is_told_which_texts_are_documents_and_has_a_limited_time() -> None:
    embeddings = Embeddings(OtherModel(), timeout_seconds=0.01, attempts=1, batch_size=10)
    with pytest.raises(Unavailable):
        await embeddings.documents(["hello"])


async def test_the_best_offline_model_that_is_installed_is_opened() -> None:
    async with open_model("offline") as embeddings:
        best = "wordllama-256" if find_spec("wordllama") else "hash-512"
        assert embeddings.model == f"offline:{best}" == f"offline:{open_offline().model_name}"
        assert len(await embeddings.query("hello")) == await embeddings.dimensions()


async def test_the_hash_says_what_it_lacks_and_what_brings_it() -> None:
    said = await offline(HashEmbedding()).check(thorough=True)
    assert said.startswith("offline:hash-512")
    assert "not by meaning" in said
    assert "uv sync --extra embeddings" in said


async def test_the_same_text_has_the_same_hashed_vector_on_every_machine() -> None:
    """Vectors are stored: where this fails on purpose, the model needs another name."""
    vector = await offline(HashEmbedding()).query("The quick brown fox; ein flinker Fuchs: 狐 🦊")
    rounded = ",".join(f"{value:.6f}" for value in vector)
    assert hashlib.sha256(rounded.encode()).hexdigest()[:16] == "3b8ead6df3eb6327"


@on_this_machine
async def test_a_related_text_is_nearer_than_others(make: type[OfflineEmbedding]) -> None:
    texts = [
        "How to return a book to the library",
        "Opening hours of the swimming pool",
        "Our soup is made of carrots and ginger",
    ]
    embeddings = offline(make())
    query = await embeddings.query("returning library books")
    nearness = [cosine(query, vector) for vector in await embeddings.documents(texts)]
    assert nearness[0] > 2 * max(nearness[1:])


@on_this_machine
@pytest.mark.parametrize(
    "text", ["", " \n", "?!", "👋🏽", "狐は速い", "e\u0301te\u0301", "\udc00", "a" * 9_999]
)
async def test_every_text_has_a_finite_vector_of_length_1(
    make: type[OfflineEmbedding], text: str
) -> None:
    embeddings = offline(make())
    vector, again = await embeddings.documents([text, text])
    assert vector == again
    assert len(vector) == await embeddings.dimensions()
    assert math.hypot(*vector) == pytest.approx(1)


async def test_words_count_whatever_their_case_or_how_their_accents_are_written() -> None:
    embeddings = offline(HashEmbedding())
    assert await embeddings.query("\u00c9t\u00e9") == await embeddings.query("e\u0301te\u0301")
