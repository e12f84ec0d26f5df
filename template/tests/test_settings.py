import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.api_keys import digest

from app.setting_names import SettingsError, setting_names, unknown_settings
from app.settings import SecuritySettings, ServerSettings, Settings, load_settings

EXAMPLE = Path(__file__).parents[1] / ".env.example"


def test_a_nested_setting_is_set_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER__PORT", "9000")
    assert load_settings().server.port == 9000


def test_settings_come_from_a_dotenv_file_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("SERVER__PORT=9000\nSERVER__WORKERS=2\n")
    monkeypatch.setenv("SERVER__PORT", "9001")
    server = load_settings().server
    assert (server.port, server.workers) == (9001, 2)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SERVER__PROT", "9000", "SERVER__PROT: unknown setting; did you mean SERVER__PORT?"),
        ("SERVER__PORT", "99999", "SERVER__PORT: Input should be less than or equal to 65535"),
        ("SECURITY__API_KEYS", '{"a": "sha256:ABCDEF"}', "SECURITY__API_KEYS__A: after sha256:"),
        ("SECURITY__API_KEYS", '{"a": "schlüssel-schlüssel"}', "SECURITY__API_KEYS__A: use 16"),
        ("SERVER__PORT", "many", "SERVER__PORT: Input should be a valid integer"),
        ("SECURITY__RATE_LIMIT", "often", "SECURITY__RATE_LIMIT: "),
        ("SECURITY__API_KEYS", '{"alice": "short"}', "SECURITY__API_KEYS__ALICE: use 16"),
        ("SECURITY__API_KEYS", '{"": "0123456789abcdef"}', "SECURITY__API_KEYS"),
        ("SECURITY__API_KEYS", '["a"]', "SECURITY__API_KEYS: Input should be a"),
        ("SECURITY__RATE_LIMIT_STORAGE", "memcached://x", "SECURITY__RATE_LIMIT_STORAGE: "),
        ("SECURITY__API_KEYS", "no json", "SECURITY__API_KEYS: a list or an object is written as"),
        ("SECURITY", '{"no json', 'error parsing value for field "security"'),
    ],
)
def test_a_wrong_setting_is_named_with_what_to_do(
    refusal: Callable[[str, str], str], name: str, value: str, sentence: str
) -> None:
    assert refusal(name, value).startswith(sentence)


def test_a_variable_that_is_named_like_a_section_is_somebody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("SERVER=somewhere\n")
    monkeypatch.setenv("LOG", "/var/log/shell")
    monkeypatch.setenv("LOG__LEVEL", "ERROR")
    assert load_settings().log.level == "ERROR"


def test_a_section_may_be_given_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER", '{"port": 9000}')
    assert load_settings().server.port == 9000


def test_an_empty_variable_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER__PORT", "")
    assert load_settings().server.port == 8000


def test_a_wrong_key_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURITY__API_KEYS", '{"alice": "hunter2"}')
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)


def test_production_without_api_keys_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    with pytest.raises(SettingsError, match="SECURITY__API_KEYS"):
        load_settings()


def test_two_principals_cannot_share_a_key() -> None:
    with pytest.raises(ValidationError, match="share one key"):
        SecuritySettings(api_keys={"alice": "0123456789abcdef", "bob": digest("0123456789abcdef")})


def test_no_representation_of_the_settings_holds_a_key(settings: Settings) -> None:
    assert "a-key-that-is-for-tests-only" not in repr(settings) + settings.model_dump_json()


def test_one_setting_decides_how_long_a_clean_stop_may_take() -> None:
    assert ServerSettings(request_seconds=10, ready_delay_seconds=1).shutdown_seconds == 12


def test_a_name_that_sets_nothing_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("ENVIROMENT=x\nserver__port=1\nSECURITY__API_KEYS__ALICE=x\nWEB=x\n")
    for name in ("ENVIROMENT", "ENVIRONMENTS", "SOMEBODY_ELSES"):
        monkeypatch.setenv(name, "x")
    assert sorted(unknown_settings(Settings)) == [
        "ENVIROMENT: unknown setting; did you mean ENVIRONMENT?",
        "ENVIRONMENTS: unknown setting; did you mean ENVIRONMENT?",
        "WEB: unknown setting",
    ]


def test_the_example_file_names_every_setting_and_no_other() -> None:
    named = re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", EXAMPLE.read_text(), re.MULTILINE)
    assert sorted(named) == sorted(setting_names(Settings))


def test_the_example_file_shows_the_defaults() -> None:
    shown, _, _ = EXAMPLE.read_text().partition("# Your own settings below.")
    uncommented = re.sub(r"^# (?=[A-Z][A-Z0-9_]+=)", "", shown, flags=re.MULTILINE)
    assert uncommented.count("\n#") < shown.count("\n#")
    Path(".env").write_text(uncommented)
    assert load_settings() == Settings(_env_file=None)
