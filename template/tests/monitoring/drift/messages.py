"""Messages of customers to compare: two or three questions of one of eight topics in each.

The questions were written by hand for this, 62 of each topic. As topics they are a hard case: the
messages are short, and few of them say the same.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.monitoring.drift.sample import Sample
from app.monitoring.drift.topics import topic_of

_FILES = sorted(Path(__file__).parent.glob("questions/*.txt"))
TOPICS = len(_FILES)
EVEN = np.full(TOPICS, 1 / TOPICS)
_OF_EACH = 400


@dataclass(frozen=True)
class Messages:
    """Of each topic as many: their vectors, and how long they are."""

    vectors: NDArray[Any]
    lengths: NDArray[Any]


@cache
def messages() -> Messages:
    """Return the messages; they are the same each time."""
    rng = np.random.default_rng(0)
    texts = [
        [
            " ".join(rng.choice(questions, rng.integers(2, 4), replace=False))
            for _ in range(_OF_EACH)
        ]
        for questions in (path.read_text("utf-8").splitlines() for path in _FILES)
    ]
    return Messages(
        np.array([[topic_of(text) for text in topic] for topic in texts], np.float32),
        np.array([[len(text) for text in topic] for topic in texts]),
    )


def without_first() -> NDArray[Any]:
    """Return shares of the topics in which the first has none."""
    shares = np.full(TOPICS, 1 / (TOPICS - 1))
    shares[0] = 0
    return shares


def moved(shares: NDArray[Any], share: float) -> NDArray[Any]:
    """Return the shares of the topics where so many of all messages turn to the first."""
    return np.asarray((1 - share) * shares + share * np.eye(TOPICS)[0])


def sample(
    rng: np.random.Generator,
    size: int,
    shares: NDArray[Any] = EVEN,
    *,
    order: NDArray[Any] | None = None,
    longer: float = 1,
    refused: float = 0.05,
    down: float = 0.2,
) -> Sample:
    """Draw responses, a quarter of them rated; `order` says which topic is first."""
    order = np.arange(TOPICS) if order is None else order
    chosen = order[rng.choice(TOPICS, size, p=shares)], rng.integers(_OF_EACH, size=size)
    return Sample(
        topics=messages().vectors[chosen],
        input_lengths=messages().lengths[chosen],
        output_lengths=(longer * rng.lognormal(6, 0.5, size)).astype(int),
        refused=rng.random(size) < refused,
        rated_down=rng.random(size // 4) < down,
    )
