import pytest

from app.answers.ask import ask, main
from app.answers.offline import answer_from_sources
from app.llm.offline import offline_model

from app.telemetry import configure_logs
from tests.answers.conftest import RETURNS, FakeRetriever, answers_with, passages
from tests.llm.conftest import Scripted

Printed = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_logs() -> None:
    """As the command has it: what is printed is the answer."""
    configure_logs("WARNING", "console")


async def test_an_answer_is_printed_with_what_it_cites(capsys: Printed) -> None:
    retriever = FakeRetriever(passages(RETURNS))
    answers = answers_with(offline_model(answer_from_sources), retriever)
    await ask("Until when can goods be returned?", "bob", answers)
    out, err = capsys.readouterr()
    assert out == (
        'Offline model: "Goods can be returned within 30 days." [1]\n'
        '[1] Terms: "Goods can be returned within 30 days."\n'
    )
    assert err.startswith("offline: ")
    assert err.endswith(" out\n")
    assert retriever.asked[0][0] == "bob"


async def test_what_is_unsupported_is_printed(scripted: Scripted, capsys: Printed) -> None:
    model = scripted('You pay. <cite source="1">pays the postage</cite> Or not.')
    await ask("Who pays?", "local", answers_with(model, FakeRetriever(passages(RETURNS))))
    assert capsys.readouterr().out == (
        'You pay. [1] Or not.\n[1] Terms: "pays the postage"\nUnsupported: Or not.\n'
    )


async def test_where_it_abstains_it_says_so(scripted: Scripted, capsys: Printed) -> None:
    model = scripted("Nobody pays.")
    await ask("Who pays?", "local", answers_with(model, FakeRetriever(passages(RETURNS))))
    out = capsys.readouterr().out
    assert "No answer: The documents do not answer this." in out
    assert out.endswith("Unsupported: Nobody pays.\n")


async def test_where_nothing_is_found_only_that_is_said(
    scripted: Scripted, capsys: Printed
) -> None:
    await ask("Who pays?", "local", answers_with(scripted(), FakeRetriever([])))
    out = capsys.readouterr().out
    assert out.startswith("No answer: ")
    assert out.endswith("\nNo passage was found.\n")


def test_a_setting_that_is_wrong_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.setenv("LLM__ATTEMPTS", "none")
    with pytest.raises(SystemExit, match="1"):
        main(["Who", "pays?"])
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_an_empty_question_is_refused(capsys: Printed) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([" "])
    assert "the question is empty" in capsys.readouterr().err
