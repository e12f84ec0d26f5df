"""`poe ingest PATH…`: take in files and folders, and work until all of them can be found.

A file is known by its path, so that a second run takes in what has changed, and nothing else.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from app.rag.documents import NewDocument, StoredDocument
from app.rag.parse import MEDIA_TYPES, UnreadableDocument, media_type_of

from app.errors import ServiceError
from app.resources import Resources, open_resources
from app.settings import load_settings
from app.telemetry import configure_logs


def main(arguments: Sequence[str] | None = None) -> int:
    """Ingest what is named; return 0 when all of it can be found, else 1."""
    parser = argparse.ArgumentParser(prog="poe ingest")
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="a file or a folder")
    parser.add_argument("--principal", default="local", help="whose documents they are")
    parser.add_argument(
        "--rebuild", action="store_true", help="make the index again, for another embedding model"
    )
    options = parser.parse_args(arguments)
    if bool(options.paths) == options.rebuild:
        parser.error("name files or folders, or --rebuild")
    configure_logs("ERROR", "console")
    try:
        if options.rebuild:
            return asyncio.run(_rebuild())
        files = list(dict.fromkeys(file for path in options.paths for file in _files(path)))
        return asyncio.run(_ingest(files, options.principal))
    except KeyboardInterrupt:
        parser.exit(130)
    except (ValueError, ServiceError) as error:
        detail = error.detail if isinstance(error, ServiceError) else error
        parser.exit(1, f"{detail}\n")


def _files(path: Path) -> Iterator[Path]:
    """Find what can be read below a folder, without what is hidden; a file has to be readable."""
    if not path.is_dir():
        if not path.exists() and not path.suffix:
            raise ValueError(f"There is no {path}.")
        media_type_of(path.name, None)
        yield path
        return
    for file in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if file.is_file() and file.suffix.lower() in MEDIA_TYPES and not hidden:
            yield file


async def _ingest(files: Sequence[Path], principal: str) -> int:
    failures: list[str] = []
    async with open_resources(load_settings()) as resources:
        await resources.index.check()
        added: list[StoredDocument] = []
        for file in tqdm(files, desc="read", unit="file"):
            try:
                added.append(await resources.documents.add(principal, _read(file)))
            except (OSError, UnreadableDocument) as error:
                failures.append(f"{file}: {error}")
        async with resources.worker.working():
            failures += await _watch(resources, principal, added)
    for failure in failures:
        print(failure, file=sys.stderr)
    found = len(files) - len(failures)
    print(f"{found} of {len(files)} files can be found.")
    return 1 if failures or not files else 0


def _read(file: Path) -> NewDocument:
    return NewDocument(
        title=_written(file.name),
        content=file.read_bytes(),
        media_type=media_type_of(file.name, None),
        source_id=_written(file.as_posix()),
    )


def _written(name: str) -> str:
    """Replace what is no letter in any encoding: file names may hold it, Postgres does not."""
    return name.encode(errors="replace").decode()


async def _watch(
    resources: Resources, principal: str, added: Sequence[StoredDocument]
) -> list[str]:
    """Wait for all of them; return what failed, and why."""
    failed: list[str] = []
    pending = {document.id for document in added}
    with tqdm(total=len(pending), desc="ingested", unit="file") as bar:
        while pending:
            asked = set(sorted(pending)[:100])
            found = await resources.documents.find(principal, sorted(asked))
            # Also what somebody has deleted meanwhile.
            done = asked - {d.id for d in found if d.status in ("queued", "running")}
            failed += [f"{d.source_id}: {d.error}" for d in found if d.status == "failed"]
            pending -= done
            bar.update(len(done))
            await resources.worker.check()
            await asyncio.sleep(0.2)
    return failed


async def _rebuild() -> int:
    async with open_resources(load_settings()) as resources:
        with tqdm(desc="rebuilt", unit="document") as bar:
            generation = await resources.ingestion.rebuild(bar.update)
    print(f"The index is made with {generation.model}: start services with another setting again.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
