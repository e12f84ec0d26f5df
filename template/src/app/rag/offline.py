"""The embedding models that need no provider: one by meaning where it is installed, one by words.

Both run on this machine. Each has a name of its own, for their vectors cannot be compared.
"""

import asyncio
import hashlib
import logging
import math
import re
import unicodedata
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic_ai.embeddings import EmbeddingModel, EmbeddingResult
from pydantic_ai.embeddings.result import EmbedInputType


class OfflineEmbedding(EmbeddingModel):
    """Embeds in a thread, as that is work and no waiting."""

    system = "offline"
    # The length of each vector, and what to expect of the model in a few words.
    dimensions: int
    nature: str

    @abstractmethod
    def vectors(self, texts: list[str]) -> list[list[float]]: ...

    async def embed(
        self, inputs: str | Sequence[str], *, input_type: EmbedInputType, settings: Any = None
    ) -> EmbeddingResult:
        texts, _ = self.prepare_embed(inputs, settings)
        return EmbeddingResult(
            await asyncio.to_thread(self.vectors, texts),
            inputs=texts,
            input_type=input_type,
            model_name=self.model_name,
            provider_name=self.system,
        )


class WordLlamaEmbedding(OfflineEmbedding):
    """The mean of the meanings of a text's tokens: WordLlama, whose package brings the weights."""

    model_name = "wordllama-256"
    dimensions = 256
    nature = "goes by the meaning of words, not by their order"

    def __init__(self) -> None:
        super().__init__()
        # Its import sets up the root logger, unless somebody has.
        root, handler = logging.getLogger(), logging.NullHandler()
        root.addHandler(handler)
        package: Any = import_module("wordllama")
        root.removeHandler(handler)
        # It looks for its tokenizer in a cache only, never in itself.
        inside = Path(package.__file__).parent
        self._model = package.WordLlama.load(cache_dir=inside, disable_download=True)

    def vectors(self, texts: list[str]) -> list[list[float]]:
        found: list[list[float]] = self._model.embed(texts).tolist()
        return found


class HashEmbedding(OfflineEmbedding):
    """Words and their trigrams, each at a place and with a sign that its hash decides.

    The same text has the same vector everywhere: whoever changes that changes the name as well.
    """

    model_name = "hash-512"
    dimensions = 512
    nature = "goes by words and not by meaning; `uv sync --extra embeddings` brings one that does"

    def vectors(self, texts: list[str]) -> list[list[float]]:
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self.dimensions
        for feature, count in Counter(_features(text)).items():
            digest = hashlib.blake2b(feature.encode(), digest_size=4).digest()
            place, sign = divmod(int.from_bytes(digest, "little"), 2)
            vector[place % self.dimensions] += (1 if sign else -1) * (1 + math.log(count))
        return vector


def open_offline() -> OfflineEmbedding:
    """Load the best model that is installed; that may take a second."""
    return WordLlamaEmbedding() if find_spec("wordllama") else HashEmbedding()


def _features(text: str) -> list[str]:
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())
    # The marks tell a word from the same letters inside another.
    marked = [f"<{word}>" for word in words]
    return marked + [word[i : i + 3] for word in marked for i in range(len(word) - 2)]
