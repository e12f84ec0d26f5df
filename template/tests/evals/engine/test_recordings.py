"""Recordings: of one model, and of what is asked."""

from pathlib import Path

import pytest
from pydantic_ai import ModelRequest, ModelResponse, TextPart, direct
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, FunctionModel

from evals.engine import recordings
from evals.engine.recorder import Answers
from evals.engine.running import Unanswered


def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    return ModelResponse([TextPart("Hello.")], provider_details={"finish_reason": "stop"})


def kept(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.json")}


async def record(folder: Path, *texts: str, name: str = "a:b", some: bool = False) -> set[str]:
    """Record what is answered to `texts`; return which recordings there are."""
    answers = Answers(folder, "record")
    model = answers.around(name, FunctionModel(respond))
    for text in texts:
        await direct.model_request(model, [ModelRequest.user_text_prompt(text)])
    recordings.finish(name, answers, some=some)
    return kept(folder)


async def test_what_is_not_asked_any_more_is_deleted(tmp_path: Path) -> None:
    both = await record(tmp_path, "one", "two")
    [one] = await record(tmp_path, "one")
    assert len(both) == 2
    assert one in both


async def test_what_is_asked_twice_stays_twice(tmp_path: Path) -> None:
    assert len(await record(tmp_path, "one", "one")) == 2
    assert len(await record(tmp_path, "one")) == 1


async def test_where_some_evals_are_recorded_the_others_stay(tmp_path: Path) -> None:
    await record(tmp_path, "one", "two")
    assert len(await record(tmp_path, "three", some=True)) == 3


async def test_all_evals_can_be_recorded_of_another_model(tmp_path: Path) -> None:
    first = await record(tmp_path, "one")
    second = await record(tmp_path, "one", name="c:d")
    assert len(second) == 1
    assert first != second
    assert recordings.model(tmp_path) == "c:d"


async def test_some_evals_cannot_be_recorded_of_another_model(tmp_path: Path) -> None:
    recordings.refuse_another_model("a:b", tmp_path)
    await record(tmp_path, "one")
    recordings.refuse_another_model("a:b", tmp_path)
    with pytest.raises(Unanswered) as refused:
        recordings.refuse_another_model("c:d", tmp_path)
    assert str(refused.value) == (
        "The recordings are of a:b: record some evals with it, or leave out their names to record"
        " all with c:d."
    )


def test_where_nothing_was_recorded_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unanswered, match="There are no recordings yet: `poe eval --record"):
        recordings.model(tmp_path)
