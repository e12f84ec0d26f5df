"""How documents are searched where answers are recorded: alike wherever they are replayed."""

import argparse

from app.rag.embed import OFFLINE

from app.settings import Settings


def searched_alike(settings: Settings, options: argparse.Namespace) -> Settings:
    """Return the settings with the built-in embeddings where answers are recorded or replayed.

    What is found is in the question to the model, and who replays the answer may have no key.
    """
    if options.mode not in ("record", "replay"):
        return settings
    rag = settings.rag.model_copy(update={"embedding_model": OFFLINE, "embedding_base_url": None})
    return settings.model_copy(update={"rag": rag})
