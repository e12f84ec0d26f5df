"""`poe ingest`: files and folders in, and an exit code that says whether all can be found."""

import asyncio
from pathlib import Path

import pytest

from app.rag.documents import StoredDocument
from app.rag.ingest_files import main
from app.rag.offline import open_offline

from tests.rag.conftest import Meanings, open_rag


@pytest.fixture(autouse=True)
def eager(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker without pauses."""
    monkeypatch.setenv("WORKER__POLL_SECONDS", "0.02")


def write(name: str, text: str) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)
    return name


def documents(url: str, principal: str = "local") -> dict[str, StoredDocument]:
    """Return what is in the database, by source."""

    async def read() -> dict[str, StoredDocument]:
        async with open_rag(url) as rag:
            return {found.source_id: found for found in await rag.documents.list(principal)}

    return asyncio.run(read())


def test_a_folder_is_taken_in_without_what_is_hidden_or_cannot_be_read(
    fresh_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("docs/dogs.md", "# Dogs\n\nA dog.")
    write("docs/deep/cars.TXT", "A car.")
    write("docs/picture.png", "no text")
    write("docs/.hidden.md", "hidden")
    write("docs/.git/notes.md", "hidden")
    write("price.html", "<p>A price.</p>")
    assert main(["docs", "price.html", "docs/dogs.md"]) == 0
    assert "3 of 3 files can be found." in capsys.readouterr().out
    found = documents(fresh_database)
    assert found.keys() == {"docs/dogs.md", "docs/deep/cars.TXT", "price.html"}
    assert {document.status for document in found.values()} == {"ready"}
    assert found["docs/dogs.md"].title == "dogs.md"


def test_a_second_run_takes_in_what_has_changed_and_nothing_else(fresh_database: str) -> None:
    write("docs/dogs.md", "A dog.")
    write("docs/cars.md", "A car.")
    assert main(["docs"]) == 0
    write("docs/dogs.md", "A hound.")
    assert main(["./docs", "--principal", "local"]) == 0
    versions = {source: document.version for source, document in documents(fresh_database).items()}
    assert versions == {"docs/dogs.md": 2, "docs/cars.md": 1}


def test_what_failed_is_listed_with_its_reason_and_the_rest_is_taken_in(
    fresh_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("dogs.md", "A dog.")
    write("empty.md", " ")
    write("broken.pdf", "%PDF")
    files = ["dogs.md", "empty.md", "broken.pdf", "no.md"]
    assert main([*files, "--principal", "alice"]) == 1
    output, errors = capsys.readouterr()
    assert output == "1 of 4 files can be found.\n"
    assert "empty.md: The document has no text" in errors
    assert "broken.pdf: The PDF is broken" in errors
    assert "no.md: " in errors
    assert documents(fresh_database) == {}
    assert documents(fresh_database, "alice")["dogs.md"].status == "ready"


def test_a_named_file_of_another_type_is_an_error_and_nothing_is_taken_in(
    fresh_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        main([write("dogs.md", "A dog."), write("picture.png", "no text")])
    assert "'picture.png' is of no supported type" in capsys.readouterr().err
    assert documents(fresh_database) == {}


def test_a_folder_without_any_document_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    Path("docs").mkdir()
    assert main(["docs"]) == 1
    assert "0 of 0 files can be found." in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["docs", "--rebuild"]])
def test_either_files_are_named_or_the_index_is_made_again(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


def test_settings_that_are_wrong_are_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAG__EMBEDDING_MODEL", "nobody:none")
    with pytest.raises(SystemExit, match="1"):
        main([write("dogs.md", "A dog.")])
    assert capsys.readouterr().err.startswith("RAG__EMBEDDING_MODEL cannot be 'nobody:none'")


def test_another_models_index_is_made_again_on_demand(
    fresh_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def ingest() -> None:
        async with open_rag(fresh_database, Meanings()) as rag:
            await rag.ready("A dog.", "local", source_id="dogs.md", title="dogs.md")

    async def search() -> list[str]:
        async with open_rag(fresh_database, open_offline()) as rag:
            return await rag.texts("dog", "local")

    asyncio.run(ingest())
    with pytest.raises(SystemExit, match="1"):
        main([write("dogs.md", "A dog.")])
    assert "poe ingest --rebuild" in capsys.readouterr().err
    assert main(["--rebuild"]) == 0
    assert f"made with offline:{open_offline().model_name}" in capsys.readouterr().out
    assert asyncio.run(search()) == ["A dog."]
