"""`poe extract` and `poe classify`: many files in, one line of JSON for each out.

The results file is also the record of what is done. A run that ends early, however it ends, is
taken up by the next one with the same `--out`: it writes what is missing.
"""

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout
from tqdm import tqdm

from app.llm.structured import Result

from app.errors import ServiceError
from app.resources import open_resources
from app.settings import Settings, load_settings
from app.telemetry import configure_logs

Json = dict[str, Any]
Read = Callable[[str], Awaitable[Result[Any]]]

_BEGINNING: Final = b'{"file": '


class BatchError(ValueError):
    """The batch cannot run; the text says why."""


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
    wanted = list(dict.fromkeys(map(str, files)))
    with FileLock(out.with_name(f".{out.name}.lock"), blocking=False):
        done = read_results(out, task)
        if again:
            redo = {name for name in wanted if done.get(name, {}).get("outcome") != "ok"}
            done = {name: result for name, result in done.items() if name not in redo}
            _replace(out, done.values())
        missing = [name for name in wanted if name not in done]
        async with open_resources(settings) as resources:
            read: Read = resources.extract if task == "extract" else resources.classify
            already = len(wanted) - len(missing)
            with tqdm(total=len(wanted), initial=already, unit="file", disable=None) as bar:
                await _write_results(missing, out, read, concurrency, bar.update)
        results = read_results(out, task)
    return _summarize([results.get(name) for name in wanted])


def read_results(path: Path, task: str) -> dict[str, Json]:
    """Return what `task` wrote to `path`, by file, and cut off a last line that has no end."""
    if not path.exists():
        return {}
    written = path.read_bytes()
    size = written.rfind(b"\n") + 1
    rest = written[size : size + len(_BEGINNING)]
    try:
        results = [json.loads(line) for line in written[:size].splitlines()]
        by_file = {result["file"]: result for result in results if result["outcome"]}
        if not _BEGINNING.startswith(rest):
            raise ValueError(rest)
    except (LookupError, TypeError, ValueError):
        raise BatchError(
            f"{path} holds something else than results: choose another --out"
        ) from None
    os.truncate(path, size)
    return by_file


async def _write_results(
    names: Iterable[str],
    out: Path,
    read: Read,
    concurrency: int,
    progress: Callable[[], object],
) -> None:
    left = iter(names)

    async def work() -> None:
        for name in left:
            try:
                text = await asyncio.to_thread(Path(name).read_text, "utf-8")
                if not text.strip():
                    raise BatchError("it is empty")
                result = await read(text)
            except Exception as error:  # Whatever is wrong with one file, the rest goes on.
                known = isinstance(error, BatchError | ServiceError)
                tqdm.write(f"{name}: {error if known else repr(error)}", file=sys.stderr)
            else:
                file.write(_line({"file": name, **result.model_dump(mode="json")}))
                file.flush()
            progress()

    with out.open("ab") as file:
        await asyncio.gather(*(work() for _ in range(concurrency)))


def _replace(path: Path, results: Iterable[Json]) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(b"".join(map(_line, results)))
    new.replace(path)


def _line(result: Json) -> bytes:
    return json.dumps(result, ensure_ascii=False).encode() + b"\n"


def _summarize(results: Sequence[Json | None]) -> bool:
    outcomes = Counter(result["outcome"] if result else "failed" for result in results)
    usages = [result["usage"] for result in results if result]
    priced = [Decimal(usage["cost_usd"]) for usage in usages if usage["cost_usd"] is not None]
    tokens_in, tokens_out = (sum(u[f"{way}_tokens"] for u in usages) for way in ("input", "output"))
    said = [", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())]
    said += [f"{tokens_in} tokens in, {tokens_out} out", f"{sum(priced):.4f} USD"]
    if unpriced := len(usages) - len(priced):
        said.append(f"the price of {unpriced} is not known")
    print("; ".join(said), file=sys.stderr)
    return outcomes.keys() <= {"ok"}


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
    except (OSError, ValueError) as error:
        parser.exit(2, f"{error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "Stopped. The same command goes on from here.\n")
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
