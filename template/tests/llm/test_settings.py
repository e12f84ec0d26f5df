"""Which keys a service that must not answer offline still lacks."""

from typing import Any

import pytest
from pydantic import SecretStr

from app.llm.settings import LLMSettings

KEY = SecretStr("a-key")


@pytest.mark.parametrize(
    ("settings", "keys", "missing"),
    [
        ({}, {"openai": None, "anthropic": None}, ["OPENAI_API_KEY or ANTHROPIC_API_KEY"]),
        ({}, {"openai": None, "anthropic": KEY}, []),
        ({"model": "offline"}, {"openai": None}, ["OPENAI_API_KEY"]),
        ({"model": "anthropic:m"}, {"openai": KEY, "anthropic": None}, ["ANTHROPIC_API_KEY"]),
        ({"model": "openai-chat:m"}, {"openai": None}, ["OPENAI_API_KEY"]),
        ({"model": "openai-chat:m", "base_url": "http://localhost/v1"}, {"openai": None}, []),
        ({"model": "anthropic:m", "base_url": "http://localhost"}, {"anthropic": None}, []),
        (
            {"model": "openai:m", "fallback_models": ["anthropic:m"], "base_url": "http://x/v1"},
            {"openai": None, "anthropic": None},
            ["ANTHROPIC_API_KEY"],
        ),
        (
            {"model": "openai:m", "fallback_models": ["anthropic:m", "offline"]},
            {"openai": KEY, "anthropic": None},
            ["ANTHROPIC_API_KEY"],
        ),
    ],
)
def test_the_missing_keys_are_named(
    settings: dict[str, Any], keys: dict[str, SecretStr | None], missing: list[str]
) -> None:
    assert LLMSettings.model_validate(settings).missing_keys(keys) == missing
