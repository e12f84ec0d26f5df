"""What went wrong becomes cases: once, in the form of the datasets, and for people to review."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr
from sqlalchemy import text

from app.db.engine import Database, open_database
from app.db.settings import DatabaseSettings
from app.monitoring.quality.responses import Response, open_responses

from evals.__main__ import load, main, names
from evals.harvest import Candidate, append, harvest

pytestmark = pytest.mark.anyio

CHAT = Response(
    id="chatcmpl-000001",
    principal="alice",
    feature="chat",
    model="offline",
    prompt="chat",
    prompt_version="1",
    created_at=datetime.now(UTC),
    input_chars=6,
    output_chars=3,
    refused=False,
    scores={"refusal": 0.0, "length": 1.0},
    topic=None,
    request='["My bike\\n\\nis \u201ered\u201c.", "Which colour?\\nAnd why?"]',
    response="I can't help with that.\nNo.",
)
TEXT = replace(CHAT, id="classify-000002", prompt="classify", request='["Where is my refund?"]')
DATASET = """\
# A remark.
cases:
- name: one
  inputs: {}
  expected_output: x  # Another.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in names():
        inputs = '["Hello."]' if name == "chat" else "Hello."
        (tmp_path / f"{name}.yaml").write_text(DATASET.format(inputs))
    return tmp_path


@pytest.fixture
async def database(fresh_database: str) -> AsyncIterator[Database]:
    async with open_database(DatabaseSettings(url=SecretStr(fresh_database))) as database:
        yield database


async def given(database: Database, *responses: Response, **ratings: str) -> None:
    async with open_responses(database, 90) as table:
        for response in responses:
            table.add(response)
    async with database.begin() as connection:
        for id, rating in ratings.items():
            values = {"id": id.replace("_", "-"), "rating": rating}
            await connection.execute(text(_RATE), values)


_RATE = "UPDATE monitoring.responses SET rating = :rating, comment = 'Why?' WHERE id = :id"


def cases(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text())["cases"]
    return found


async def test_what_went_wrong_is_put_into_the_datasets(database: Database, folder: Path) -> None:
    good = replace(TEXT, scores={"refusal": 1.0})
    await given(database, CHAT, good, classify_000002="down")
    said = await harvest(database, 7, folder)
    assert said == (
        f"{folder}/chat.yaml: 1 new\n{folder}/classify.yaml: 1 new\n"
        "Fill in expected_output and reviewed_by."
    )
    assert cases(folder / "chat.yaml")[1] == {
        "name": "which colour and why 000001",
        "inputs": ["My bike\n\nis \u201ered\u201c.", "Which colour?\nAnd why?"],
        "metadata": {"source": CHAT.id, "reviewed_by": None},
    }
    assert cases(folder / "classify.yaml")[1]["inputs"] == "Where is my refund?"
    for name in ("chat", "classify"):
        assert len(load(name).load(folder / f"{name}.yaml").cases) == 2
    written = (folder / "chat.yaml").read_text()
    assert written.startswith(DATASET.format('["Hello."]'))
    assert "# refusal 0\n# It answered: I can't help with that. No.\n" in written
    assert "# rated down: Why?\n" in (folder / "classify.yaml").read_text()


async def test_a_second_harvest_adds_nothing(database: Database, folder: Path) -> None:
    same = replace(CHAT, id="chatcmpl-000003")
    await given(database, CHAT, same)
    await harvest(database, 7, folder)
    before = (folder / "chat.yaml").read_text()
    said = await harvest(database, 7, folder)
    assert said == "Nothing new.\nLeft out: 2 that a dataset has already."
    assert (folder / "chat.yaml").read_text() == before


async def test_what_is_left_out_is_said(database: Database, folder: Path) -> None:
    closed = replace(CHAT, id="closed", request=None, response=None)
    other = replace(CHAT, id="other", prompt="unknown")
    liked = replace(CHAT, id="liked")
    fine = replace(CHAT, id="fine", scores={"refusal": 1.0})
    await given(database, closed, other, liked, fine, liked="up")
    said = await harvest(database, 7, folder)
    assert said == (
        "Nothing new.\n"
        "Left out: 1 without content: MONITORING__CAPTURE_CONTENT=true keeps that of later ones.\n"
        "Left out: 1 of prompts that no dataset of this form is asked with."
    )


CANDIDATE = Candidate(
    {"name": "b", "inputs": "#: [\u2028\x85\n\n---"}, "odd\n- x", "\u2028- name: c\n"
)


@pytest.mark.parametrize("indent", ["", "  "])
def test_whatever_was_written_stays_a_text(tmp_path: Path, indent: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"name: a\ncases:\n{indent}# A remark.\n{indent}- name: a\n{indent}  inputs: x")
    append(path, [CANDIDATE, CANDIDATE])
    assert cases(path)[1:] == [CANDIDATE.case] * 2


@pytest.mark.parametrize("text", ["cases: [{name: a}]\n", "cases:\n- name: a\nname: a\n"])
def test_a_dataset_of_another_form_stays_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="make `cases` the last of it"):
        append(path, [CANDIDATE])
    assert path.read_text() == text


def test_it_is_a_word_of_poe_eval(
    capsys: pytest.CaptureFixture[str], migrated_database: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["harvest", "--days", "1"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("Nothing new.")
