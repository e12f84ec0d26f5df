"""A run in the terminal: what happens is printed, and approvals are asked for there."""

import sys
from io import StringIO

import pytest
from pydantic_ai.exceptions import UnexpectedModelBehavior

from app.agent.ask import do, main
from app.agent.runs import NewRun

from app.errors import Forbidden
from tests.agent.conftest import Notes, Office, Scripted, call, calling
from tests.llm.scripted import Turn

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def asking(office: Office, notes: Notes, scripted: Scripted) -> Office:
    return office.given(scripted(calling(call("note", what="a")), "Done."), [notes.asking])


@pytest.mark.anyio
@pytest.mark.parametrize("approved", [True, False])
async def test_who_runs_it_is_asked_for_approvals(
    asking: Office, notes: Notes, capsys: Printed, approved: bool
) -> None:
    asked: list[str] = []

    def approves(question: str) -> bool:
        asked.append(question)
        return approved

    async with asking.working():
        assert await do(NewRun(input="Note a."), "alice", asking.runs, approves) == 0
    assert asked == ["This tool is never used without an approval. Approve?"]
    assert notes.noted == (["a"] if approved else [])
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines() if line]
    printed = [words for words in lines if words[0].isdigit()]
    assert [int(words[0]) for words in printed] == list(range(1, len(printed) + 1))
    assert printed[2] == ["3", "approval.requested", "note {'what': 'a'}"]
    assert printed[1][:2] == ["2", "step"]
    assert printed[1][2].startswith("step 1, input_tokens ")
    assert printed[-2:] == [
        [str(len(printed) - 1), "text", "Done."],
        [str(len(printed)), "run.completed"],
    ]


@pytest.mark.anyio
async def test_a_run_that_fails_is_an_exit_code(
    office: Office, scripted: Scripted, capsys: Printed
) -> None:
    office = office.given(scripted(Turn(error=UnexpectedModelBehavior("no"))))
    async with office.working():
        assert await do(NewRun(input="Add."), "alice", office.runs, lambda question: True) == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "  2 run.failed         The model's provider failed."
    )


@pytest.mark.anyio
async def test_where_others_approve_it_says_so(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    turn = calling(call("note", what="a"))
    office = office.given(scripted(turn), [notes.asking], approvers=["carol"])
    async with office.working():
        with pytest.raises(Forbidden, match="AGENT__APPROVERS"):
            await do(NewRun(input="Note a."), "alice", office.runs, lambda question: True)


@pytest.fixture
def in_process(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER__IN_PROCESS", "true")


@pytest.mark.usefixtures("in_process")
def test_the_command_does_a_run(capsys: Printed) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--yes", "What is", "2 * 3? Notify people"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "calculator {'expression': '2 * 3'}" in out
    assert "notify succeeded: Nothing was sent" in out
    assert "run.completed" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        ([" "], 1, "input: a blank text"),
        (["--agent", "another", "a"], 2, "invalid choice"),
        ([], 2, "required"),
    ],
)
def test_what_is_wrong_is_said(
    fresh_database: str, capsys: Printed, arguments: list[str], code: int, reason: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == code
    err = capsys.readouterr().err
    assert reason in err
    assert code == 2 or err.count("\n") == 1


@pytest.mark.usefixtures("in_process")
def test_where_nobody_is_there_to_ask_the_run_waits(
    capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO())
    with pytest.raises(SystemExit) as ended:
        main(["Notify the team."])
    assert ended.value.code == 1
    assert "--yes approves." in capsys.readouterr().err


def test_a_switched_off_agent_is_one_line(
    fresh_database: str, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT__ENABLED", "false")
    with pytest.raises(SystemExit) as ended:
        main(["What is 1 + 1?"])
    assert ended.value.code == 1
    # Nor does it work for others where that is somebody else's.
    assert capsys.readouterr().err == (
        "WORKER__IN_PROCESS=false: this waits for poe worker.\nAgents are switched off here.\n"
    )
