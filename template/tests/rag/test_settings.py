"""What can be chosen for documents, and what production has to choose."""

from collections.abc import Callable

import pytest

from app.settings import load_settings


def test_production_without_a_chosen_embedding_model_does_not_start(
    monkeypatch: pytest.MonkeyPatch, refusal: Callable[[str, str], str]
) -> None:
    monkeypatch.delenv("RAG__EMBEDDING_MODEL")
    monkeypatch.setenv("SECURITY__API_KEYS", '{"alice": "a-key-that-is-for-tests-only"}')
    assert "RAG__EMBEDDING_MODEL" in refusal("ENVIRONMENT", "production")


def test_development_embeds_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAG__EMBEDDING_MODEL")
    assert load_settings().rag.embedding_model is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RAG__CHUNK_TOKENS", "8"),
        ("RAG__CANDIDATES", "1000"),
        ("RAG__LANGUAGE", "english'; DROP TABLE"),
        ("RAG__EMBEDDING_BASE_URL", "nowhere"),
        ("WORKER__CONCURRENCY", "0"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_its_name(
    refusal: Callable[[str, str], str], name: str, value: str
) -> None:
    assert refusal(name, value).startswith(f"{name}: ")
