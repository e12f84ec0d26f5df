"""Which model answers, and under which prompts: a result says it, and so does a baseline."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.resources import Resources


@dataclass(frozen=True)
class AskedWith:
    """Names the configured model, and the active versions of `prompts` with their digests."""

    prompts: tuple[str, ...]

    def __call__(self, resources: Resources) -> tuple[str, Mapping[str, str]]:
        active = [resources.prompts.get(name) for name in self.prompts]
        return resources.models.ids[0], {str(prompt): prompt.digest for prompt in active}


def asked_with(*prompts: str) -> AskedWith:
    """Say that these prompts are what is asked with."""
    return AskedWith(prompts)
