"""How documents are searched where answers are recorded."""

import argparse

import pytest

from app.settings import Settings
from evals.engine.search import searched_alike

SETTINGS = Settings(
    _env_file=None,
    rag={"embedding_model": "openai:small", "embedding_base_url": "http://localhost:1/v1"},
)


@pytest.mark.parametrize("mode", ["record", "replay"])
def test_what_is_recorded_is_searched_without_a_provider(mode: str) -> None:
    rag = searched_alike(SETTINGS, argparse.Namespace(mode=mode)).rag
    assert (rag.embedding_model, rag.embedding_base_url) == ("offline", None)


@pytest.mark.parametrize("mode", ["cache", "live"])
def test_what_is_not_recorded_is_searched_as_the_settings_say(mode: str) -> None:
    assert searched_alike(SETTINGS, argparse.Namespace(mode=mode)) == SETTINGS
