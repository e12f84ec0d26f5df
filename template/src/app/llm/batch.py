"""`poe extract` and `poe classify`: many files in, one line of JSON for each out.

The results file is also the record of what is done. A run that ends early, however it ends, is
taken up by the next one with the same `--out`: it writes what is missing.
"""

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError
from tqdm import tqdm

from app.llm.failures import ProviderKeyRefused
from app.llm.settings import OFFLINE
from app.llm.structured import Outcome, Result, Usage

from app.errors import ServiceError
from app.resources import open_resources
from app.settings import Settings, load_settings
from app.telemetry import configure_logs

Read = Callable[[str], Awaitable[Result[Any]]]


class BatchError(ValueError):
    """A file cannot be read, or the batch cannot run; the text says why."""


class Line(BaseModel):
    """What has to be known of a result; `file` is as seen from the folder of the results."""

    file: str
    sha256: str
    id: str
    model: str
    outcome: Outcome
    usage: Usage


class ResultsFile:
    """Results as JSON Lines. A later line for a file stands in place of the earlier."""

    def __init__(self, path: Path, task: str) -> None:
        """Read what there is; raise `BatchError` where it is not the work of `task`."""
        written = _lines(path)
        cut_off = _end_of_a_cut_line(written)
        whole = written[:-1] if cut_off else written
        try:
            lines = [Line.model_validate_json(line) for line in whole]
            own = all(line.id.startswith(f"{task}-") for line in lines)
        except ValidationError:
            own = False
        if not own:
            raise BatchError(f"{path} holds something else: choose another --out")
        self.done = {line.file: line for line in lines}
        self.added: list[Line] = []
        self._has_outdated = len(self.done) < len(lines)
        self._path = path
        self._file = path.open("ab")
        if cut_off:
            self._file.truncate(sum(map(len, whole)))
        elif whole and not whole[-1].endswith(b"\n"):
            self._file.write(b"\n")

    def add(self, file: str, digest: str, result: Result[Any]) -> Line:
        whole = {"file": file, "sha256": digest, **result.model_dump(mode="json")}
        written = json.dumps(whole, ensure_ascii=False).encode() + b"\n"
        self._file.write(written)
        self._file.flush()
        self._has_outdated |= file in self.done
        self.added.append(Line.model_validate_json(written))
        return self.added[-1]

    def close(self) -> None:
        """Leave the last line for each file, and no other."""
        self._file.close()
        if self._has_outdated:
            latest = {Line.model_validate_json(line).file: line for line in _lines(self._path)}
            new = self._path.with_name(f".{self._path.name}.new")
            new.write_bytes(b"".join(latest.values()))
            shutil.copymode(self._path, new)
            new.replace(self._path)


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def _end_of_a_cut_line(written: Sequence[bytes]) -> bool:
    """Say whether the last line was cut off while this service wrote it."""
    if not written or written[-1].endswith(b"\n"):
        return False
    try:
        json.loads(written[-1])
    except ValueError:
        return len(written) > 1 or written[-1].startswith(b'{"file": "')
    return False


async def run(
    task: str,
    files: Sequence[Path],
    out: Path,
    settings: Settings,
    *,
    concurrency: int = 8,
    again: bool = False,
) -> bool:
    """Write the missing results to `out`, and a summary to stderr; say whether all are ok."""
    out = _path(out)
    paths = _by_name(files, out.parent)
    if out in paths.values():
        raise BatchError(f"{out} is one of the files: choose another --out")
    if not out.parent.is_dir():
        raise BatchError(f"there is no folder {out.parent}")
    with FileLock(out.with_name(f".{out.name}.lock"), blocking=False):
        results = ResultsFile(out, task)
        try:
            async with open_resources(settings) as resources:
                read: Read = resources.extract if task == "extract" else resources.classify
                places = min(concurrency, settings.llm.max_concurrency)
                found = await _read_all(paths, results, read, places, again)
        finally:
            results.close()
    _summarize(found, results.added, len(paths))
    return len(found) == len(paths) and all(line.outcome == "ok" for line in found)


async def _read_all(
    paths: Mapping[str, Path], results: ResultsFile, read: Read, concurrency: int, again: bool
) -> list[Line]:
    found: list[Line] = []
    left = iter(paths.items())

    async def work(bar: "tqdm[Any]") -> None:
        for name, path in left:
            try:
                text = await asyncio.to_thread(_text, path)
                digest = hashlib.sha256(text.encode()).hexdigest()
                line = results.done.get(name)
                if not line or line.sha256 != digest or (again and line.outcome != "ok"):
                    line = results.add(name, digest, await read(text))
                found.append(line)
            except (ProviderKeyRefused, OSError):
                raise  # The others would fail, too.
            except Exception as error:  # Whatever is wrong with one file, the rest goes on.
                known = isinstance(error, BatchError | ServiceError)
                tqdm.write(f"{path}: {error if known else repr(error)}", file=sys.stderr)
            bar.update()

    with tqdm(total=len(paths), unit="file", disable=None) as bar:
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(concurrency):
                    workers.create_task(work(bar))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
    return found


def _path(given: Path) -> Path:
    # poe runs in the root of the project, wherever it was called.
    return (Path(os.environ.get("POE_PWD", ".")) / given).resolve()


def _by_name(files: Iterable[Path], folder: Path) -> dict[str, Path]:
    """Return each file once, by its path as seen from `folder`."""
    return {os.path.relpath(path, folder): path for path in map(_path, files)}


def _text(path: Path) -> str:
    try:
        str(path).encode()
        if not path.is_file():
            raise BatchError("it is no file" if path.exists() else "there is no such file")
        text = path.read_text("utf-8-sig")
    except UnicodeError:
        raise BatchError("the text, or the name, is no UTF-8") from None
    except OSError as error:
        raise BatchError(str(error.strerror)) from None
    if not text.strip():
        raise BatchError("it is empty")
    return text


def _summarize(found: Sequence[Line], added: Sequence[Line], files: int) -> None:
    outcomes = Counter[str](line.outcome for line in found)
    outcomes["failed"] = files - len(found)
    said = [", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common() if count)]
    if before := len(found) - len(added):
        said.append(f"{before} of them from before")
    tokens_in = sum(line.usage.input_tokens for line in added)
    tokens_out = sum(line.usage.output_tokens for line in added)
    said.append(f"{tokens_in} tokens in, {tokens_out} out")
    prices = [line.usage.cost_usd for line in added]
    said.append(f"{sum(Decimal(price) for price in prices if price):.4f} USD")
    if unpriced := prices.count(None):
        said.append(f"the price of {unpriced} is not known")
    if offline := sum(line.model == OFFLINE for line in added):
        said.append(f"{offline} by the offline model")
    print("; ".join(said), file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    """Exit with 0 where every file is ok, 1 where one is not, and 2 where nothing could run."""
    parser = argparse.ArgumentParser(prog="poe")
    parser.add_argument("task", choices=["extract", "classify"])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="text in UTF-8")
    parser.add_argument("--out", type=Path, required=True, help="results, a line of JSON each")
    parser.add_argument("--concurrency", type=int, default=8, help="files at once (8)")
    parser.add_argument("--again", action="store_true", help="redo those that were not ok")
    options = parser.parse_args(arguments)
    if options.concurrency < 1:
        parser.error("--concurrency is at least 1")
    configure_logs("WARNING", "console")
    try:
        ok = asyncio.run(run(**vars(options), settings=load_settings()))
    except Timeout:
        parser.exit(2, f"another run writes to {options.out} at this moment\n")
    except (OSError, ServiceError, ValueError) as error:
        parser.exit(2, f"{error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "Stopped. The same command goes on from here.\n")
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
