"""The documents that evals ask about."""

from pathlib import Path

import pytest

from app.resources import Resources, open_resources
from app.settings import Settings
from evals.engine.database import PRINCIPAL
from evals.engine.documents import FOLDER, fill, read
from evals.engine.running import Unanswered


@pytest.fixture
def settings(fresh_database: str) -> Settings:
    return Settings(_env_file=None, database={"url": fresh_database})


async def found(resources: Resources) -> list[str]:
    """Return the documents' titles."""
    return sorted(document.title for document in await resources.documents.list(PRINCIPAL))


async def test_documents_are_as_in_the_folder_whatever_was_there_before(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "one.md").write_text("The shop opens at nine.")
    (tmp_path / "two.md").write_text("The shop closes at five.")
    async with open_resources(settings) as resources:
        await fill(resources, read(tmp_path))
        assert await found(resources) == ["one.md", "two.md"]
        (tmp_path / "one.md").write_text("The shop opens at ten.")
        (tmp_path / "two.md").unlink()
        await fill(resources, read(tmp_path))
        assert await found(resources) == ["one.md"]
        [passage] = await resources.retriever.retrieve(PRINCIPAL, "When does it open?")
        assert passage.text == "The shop opens at ten."


async def test_a_document_that_cannot_be_read_is_named(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "empty.md").write_text(" ")
    async with open_resources(settings) as resources:
        with pytest.raises(Unanswered, match=r"evals/corpus/empty\.md: "):
            await fill(resources, read(tmp_path))


def test_there_are_documents() -> None:
    assert len(read(FOLDER)) >= 8
