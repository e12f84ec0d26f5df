"""A made-up library that behaves like a real one: many words are rare, and subjects lie together.

The words are those of wordllama's tokenizer, the most common first, and pairs of them for the long
tail; they are drawn by Zipf's law. What a chunk is about decides some of its words and the
neighbourhood of its vector, so one can ask about it in words and by meaning. The same size gives
the same library.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import wordllama

# Who has how much of it.
SHARES = {"ann": 0.6, "ben": 0.25, "cleo": 0.1, "dan": 0.05}
WORDS_A_CHUNK = 120
CHUNKS_A_DOCUMENT = 20
# One document in so many is tagged so that a filter can keep it.
RARE = 100
_CHUNKS_A_SUBJECT = 200
_WORDS_A_SUBJECT = 40
# How many directions the subjects spread in, however long the vectors are.
_DIRECTIONS = 48


class Question(NamedTuple):
    principal: str
    text: str
    vector: list[float]


class Library:
    """`size` chunks with vectors of `dimensions`."""

    def __init__(self, size: int, dimensions: int) -> None:
        self.size = size
        self._random = np.random.default_rng([size, dimensions])
        self._vocabulary = _vocabulary()
        weights = 1 / (np.arange(len(self._vocabulary)) + 2.7)
        self._zipf = np.cumsum(weights / weights.sum())
        subjects = max(20, size // _CHUNKS_A_SUBJECT)
        # None of the most common words belongs to a subject.
        shape = subjects, _WORDS_A_SUBJECT
        self._subject_words = self._random.integers(300, len(self._vocabulary), shape)
        self._centres = self._normal(subjects, _DIRECTIONS)
        self._directions = _of_length_1(self._normal(_DIRECTIONS, dimensions))
        owners = self._random.choice(
            list(SHARES), -(-size // CHUNKS_A_DOCUMENT), p=list(SHARES.values())
        )
        self.owners: list[str] = owners.tolist()
        self._subjects = self._random.integers(0, subjects, size)
        self.vectors = self._near(self._subjects)
        self._words = self._draw(self._subjects, WORDS_A_CHUNK, 0.2)

    def text(self, chunk: int) -> str:
        return self._spell(self._words[chunk])

    def questions(self, count: int) -> list[Question]:
        """Ask about chunks, each on behalf of its owner, in eight words."""
        chunks = self._random.integers(0, self.size, count)
        subjects = self._subjects[chunks]
        asked = zip(chunks, self._draw(subjects, 8, 0.3), self._near(subjects), strict=True)
        return [
            Question(self.owners[chunk // CHUNKS_A_DOCUMENT], self._spell(words), vector.tolist())
            for chunk, words, vector in asked
        ]

    def common(self, count: int) -> list[str]:
        """Return questions of words that stand nearly everywhere."""
        return [self._spell(self._random.integers(0, 100, 6)) for _ in range(count)]

    def _spell(self, words: Any) -> str:
        return " ".join(self._vocabulary[word] for word in words)

    def _normal(self, *shape: int) -> Any:
        return self._random.standard_normal(shape, dtype=np.float32)

    def _near(self, subjects: Any) -> Any:
        points = self._centres[subjects] + 0.6 * self._normal(len(subjects), _DIRECTIONS)
        vectors = points @ self._directions
        return _of_length_1(vectors + 0.1 * self._normal(*vectors.shape))

    def _draw(self, subjects: Any, count: int, own: float) -> Any:
        """Draw words for each subject: a share of `own` from its own ones."""
        shape = len(subjects), count
        of_all = np.searchsorted(self._zipf, self._random.random(shape))
        which = self._random.integers(0, _WORDS_A_SUBJECT, shape)
        of_subject = self._subject_words[subjects[:, None], which]
        return np.where(self._random.random(shape) < own, of_subject, of_all)


def _of_length_1(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _vocabulary() -> list[str]:
    [tokenizer] = Path(wordllama.__file__).parent.glob("tokenizers/*.json")
    numbers: dict[str, int] = json.loads(tokenizer.read_text("utf-8"))["model"]["vocab"]
    ordered = sorted(numbers, key=numbers.__getitem__)
    simple = [token[1:] for token in ordered if re.fullmatch("▁[a-z]{3,}", token)]
    pairs = (
        first + second
        for step in range(1, 6)
        for first, second in zip(simple[500:], simple[500 + 97 * step :], strict=False)
    )
    return simple + list(pairs)
