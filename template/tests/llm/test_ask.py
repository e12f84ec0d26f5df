import pytest

from app.llm.ask import main


def test_an_answer_is_printed_and_what_it_took_goes_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["Is", "anybody there?"])
    out, err = capsys.readouterr()
    assert out == 'Offline model: no AI wrote this answer. You wrote "Is anybody there?".\n'
    assert err.startswith("offline: ")
    assert err.endswith(" out\n")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("LLM__MAX_INPUT_TOKENS", "1", "tokens"),
        ("LLM__PROMPTS", '{"chat": "99"}', "no prompt chat/99"),
        ("LLM__MODEL", "gpt", "gpt"),
        ("LLM__ATTEMPTS", "none", "LLM__ATTEMPTS"),
    ],
)
def test_a_failure_is_one_line(
    name: str,
    value: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="1"):
        main(["Hello"])
    out, err = capsys.readouterr()
    assert out == ""
    assert reason in err
    assert err.count("\n") == 1
