"""Which model and which prompts the options of `poe eval` choose."""

import argparse

import pytest

from app.settings import Settings
from evals.engine.models import add_model_options, configured


def options(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_model_options(parser)
    return parser.parse_args(given)


def test_without_options_the_settings_say_who_is_asked() -> None:
    settings = Settings(_env_file=None, llm={"model": "offline", "prompts": {"chat": "1"}})
    assert configured(settings, options()) == settings


def test_a_model_that_is_named_is_asked_alone() -> None:
    settings = Settings(_env_file=None, llm={"model": "a:b", "fallback_models": ["c:d"]})
    llm = configured(settings, options("--model", "offline")).llm
    assert (llm.model, llm.fallback_models) == ("offline", ())


def test_a_prompt_is_chosen_beside_those_that_are_set() -> None:
    settings = Settings(_env_file=None, llm={"prompts": {"extract": "3"}})
    llm = configured(settings, options("--prompt", "chat@2", "--prompt", "classify@1")).llm
    assert llm.prompts == {"extract": "3", "chat": "2", "classify": "1"}


def test_a_prompt_without_a_version_is_refused() -> None:
    with pytest.raises(ValueError, match="is NAME@VERSION, such as chat@2, not 'chat'"):
        configured(Settings(_env_file=None), options("--prompt", "chat"))


def test_a_replay_needs_no_key() -> None:
    settings = Settings(_env_file=None)
    replayed = configured(settings, options("--replay", "--model", "offline"))
    assert all(replayed.provider_keys.values())
    assert not any(settings.provider_keys.values())


@pytest.mark.parametrize("option", ["--judge-itself", "--calibrate"])
def test_what_is_about_a_judge_needs_one(option: str) -> None:
    with pytest.raises(ValueError, match="are about a judge: name it with --judge"):
        configured(Settings(_env_file=None), options(option))
    configured(Settings(_env_file=None), options(option, "--judge", "offline"))


@pytest.mark.parametrize("amount", ["nan", "inf", "-1", "two"])
def test_an_amount_that_is_none_is_refused(amount: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options(f"--max-usd={amount}")
    assert f"argument --max-usd: an amount of dollars is 0 or more, not {amount}" in (
        capsys.readouterr().err
    )
    assert options("--max-usd", "0.5").max_usd == 0.5


def test_only_one_way_to_get_answers_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options("--replay", "--record")
    assert "not allowed with" in capsys.readouterr().err
