"""`poe prompt diff`: what a version changes, in words and in cases."""

import pytest

from evals.prompt import main


def test_the_other_commands_are_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    assert "chat/1" in capsys.readouterr().out


def test_a_version_beside_itself_differs_in_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["diff", "classify@1", "classify@1"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "classify: " in said
    assert " now: " not in said
    assert "chat" not in said


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        (("chat@1", "classify@1"), "chat/1 and classify/1 are versions of two prompts"),
        (("chat@1", "chat@99"), "there is no prompt chat/99"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], versions: tuple[str, str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["diff", *versions])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
