"""Settings that cannot work are refused, and which keys a production still lacks."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
from pydantic import SecretStr

from app.llm.settings import LLMSettings

from app.setting_names import SettingsError
from app.settings import Settings, load_settings

KEY = SecretStr("a-key")


@pytest.mark.parametrize(
    ("settings", "keys", "missing"),
    [
        ({}, {"openai": None, "anthropic": None}, ["OPENAI_API_KEY or ANTHROPIC_API_KEY"]),
        ({}, {"openai": None, "anthropic": KEY}, []),
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


@pytest.mark.parametrize(
    ("name", "value"), [("MODEL", "offline"), ("FALLBACK_MODELS", '["offline"]')]
)
def test_production_never_answers_offline(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("SECURITY__API_KEYS", '{"alice": "0123456789abcdef"}')
    for provider in Settings().provider_keys:
        monkeypatch.setenv(f"{provider}_API_KEY".upper(), "a-key")
    monkeypatch.setenv("ENVIRONMENT", "production")
    assert load_settings().environment == "production"
    monkeypatch.setenv(f"LLM__{name}", value)
    with pytest.raises(SettingsError, match="=production needs real models in LLM__MODEL and"):
        load_settings()


def test_a_key_of_the_owner_is_no_provider() -> None:
    class Extended(Settings):
        stripe_api_key: SecretStr | None = None

    assert "stripe" not in Extended(stripe_api_key=KEY).provider_keys


def test_each_provider_has_its_key() -> None:
    providers = Settings().provider_keys
    given = {f"{provider}_api_key": SecretStr(provider) for provider in providers}
    keys = Settings.model_validate(given).provider_keys
    assert keys == {provider: SecretStr(provider) for provider in providers}
    assert all(find_spec(f"app.llm.providers.{provider}") for provider in providers)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("LLM__FALLBACK_MODELS", "m", "LLM__FALLBACK_MODELS: a list or an object is written as"),
        ("LLM__BASE_URL", "localhost:11434/v1", "LLM__BASE_URL: URL scheme should be 'http'"),
    ],
)
def test_a_wrong_setting_is_named_with_what_to_do(
    refusal: Callable[[str, str], str], name: str, value: str, sentence: str
) -> None:
    assert refusal(name, value).startswith(sentence)
