"""The responses that are compared, as arrays."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.monitoring.drift.report import FEEDBACK, INPUT_LENGTH, OUTPUT_LENGTH, REFUSALS, TOPICS


@dataclass(frozen=True)
class Sample:
    """Responses of one feature in one period: `topics` has a row each, the others a value.

    `rated_down` is of those that were rated.
    """

    topics: NDArray[np.float32]
    input_lengths: NDArray[np.int64]
    output_lengths: NDArray[np.int64]
    refused: NDArray[np.bool]
    rated_down: NDArray[np.bool]

    @property
    def measures(self) -> dict[str, NDArray[Any]]:
        return {
            TOPICS: self.topics,
            INPUT_LENGTH: self.input_lengths,
            OUTPUT_LENGTH: self.output_lengths,
            REFUSALS: self.refused,
            FEEDBACK: self.rated_down,
        }


def samples(rows: Iterable[Any]) -> dict[str, tuple[Sample, Sample]]:
    """Return the reference and the window of each feature, from rows as the job reads them."""
    found: dict[str, tuple[list[Any], list[Any]]] = defaultdict(lambda: ([], []))
    for row in rows:
        found[row.feature][row.is_recent].append(row)
    return {feature: (_sample(old), _sample(new)) for feature, (old, new) in found.items()}


def _sample(rows: Sequence[Any]) -> Sample:
    sampled = [row for row in rows if row.is_sampled]
    return Sample(
        topics=np.array([row.topic for row in sampled if row.topic is not None], np.float32),
        input_lengths=np.array([row.input_chars for row in sampled], np.int64),
        output_lengths=np.array([row.output_chars for row in sampled], np.int64),
        refused=np.array([row.refused for row in sampled], np.bool),
        rated_down=np.array([row.rating == "down" for row in rows if row.is_rated], np.bool),
    )
