"""Which model answers, and under which prompts: a result says it, and so does a baseline."""

from collections.abc import Callable, Mapping

from app.resources import Resources


def asked_with(*prompts: str) -> Callable[[Resources], tuple[str, Mapping[str, str]]]:
    """Name the configured model, and the active versions of these prompts with their digests."""

    def asked(resources: Resources) -> tuple[str, Mapping[str, str]]:
        active = [resources.prompts.get(name) for name in prompts]
        return resources.models.ids[0], {str(prompt): prompt.digest for prompt in active}

    return asked
