"""For every test: an embedding model that needs no provider, as production has to name one."""

import pytest


@pytest.fixture(autouse=True)
def offline_embeddings(no_ambient_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that name no other model have this one."""
    monkeypatch.setenv("RAG__EMBEDDING_MODEL", "offline")
