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


def test_a_refusal_and_an_answer_that_was_cut_are_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["[refuse]"])
    out, err = capsys.readouterr()
    assert out == "\n"
    assert err.endswith("That is no whole answer: Offline model: refused, as [refuse] asks.\n")
    monkeypatch.setenv("LLM__MAX_OUTPUT_TOKENS", "3")
    main(["Hello"])
    assert capsys.readouterr().err.endswith("That is no whole answer: length\n")


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
