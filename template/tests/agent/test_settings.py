"""Settings of the agent come from the environment, and what is wrong with them is said."""

from collections.abc import Callable

import pytest

from app.agent.settings import AgentSettings

from app.settings import load_settings


def test_the_agent_is_set_by_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT__ENABLED", "false")
    monkeypatch.setenv("AGENT__MAX_STEPS", "5")
    monkeypatch.setenv("AGENT__APPROVERS", '["carol"]')
    monkeypatch.setenv("AGENT__FETCH_HOSTS", '["docs.python.org"]')
    agent = load_settings().agent
    assert (agent.enabled, agent.max_steps) == (False, 5)
    assert (agent.approvers, agent.fetch_hosts) == (("carol",), ("docs.python.org",))


def test_without_any_it_fetches_nothing_and_notifies_nobody() -> None:
    agent = AgentSettings()
    assert agent.enabled
    assert (agent.fetch_hosts, agent.notify_url, agent.approvers) == ((), None, ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AGENT__MAX_STEPS", "0"),
        ("AGENT__MAX_TOOL_CALLS", "-1"),
        ("AGENT__MAX_SECONDS", "0"),
        ("AGENT__MAX_TOKENS", "many"),
        ("AGENT__MAX_OPEN_RUNS", "0"),
        ("AGENT__APPROVAL_SECONDS", "0"),
        ("AGENT__RETENTION_DAYS", "0"),
        ("AGENT__FETCH_HOSTS", "docs.python.org"),
        ("AGENT__STEPS", "3"),
    ],
)
def test_what_is_wrong_is_named(refusal: Callable[[str, str], str], name: str, value: str) -> None:
    assert name in refusal(name, value)


def test_who_approves_in_production_needs_a_key() -> None:
    agent = AgentSettings(approvers=("carol", "dave"))
    assert agent.missing_in_production({"alice", "carol"}) == [
        "a key in SECURITY__API_KEYS for dave, who approves"
    ]
    assert AgentSettings().missing_in_production(set()) == []


def test_where_to_notify_is_an_address_and_a_secret(
    monkeypatch: pytest.MonkeyPatch, refusal: Callable[[str, str], str]
) -> None:
    said = refusal("AGENT__NOTIFY_URL", "no-address-but-a-secret")
    assert "AGENT__NOTIFY_URL" in said
    assert "secret" not in said
    monkeypatch.setenv("AGENT__NOTIFY_URL", "https://hooks.example.org/a-secret")
    settings = load_settings()
    assert settings.agent.notify_url is not None
    assert "a-secret" not in f"{settings!r} {settings.model_dump_json()}"
