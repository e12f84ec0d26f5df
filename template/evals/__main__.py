"""`poe eval`: ask the service all questions, or some, and say whether it has become worse.

Exit code 0: passed, or too few cases to say. 1: it has become worse, or is not good enough. 2: the
questions could not be asked.
"""

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from app.errors import ServiceError
from app.telemetry import configure_logs
from evals.engine import baseline, gate
from evals.engine.eval import Eval
from evals.engine.reports import Header, Reported, html, junit, markdown, on_one_line, table
from evals.engine.results import Result
from evals.engine.running import Unanswered, run
from evals.service import add_options, open_service

FOLDER: Final = Path(__file__).parent
DATASETS: Final = FOLDER / "datasets"
BASELINES: Final = FOLDER / "baselines"
# What it writes where it is run, and git does not see.
OWN: Final = Path(".evals")


def names() -> list[str]:
    """Return what can be evaluated: each dataset has a module of its name."""
    return sorted(path.stem for path in DATASETS.glob("*.yaml"))


def load(name: str) -> Eval[Any, Any]:
    """Return an eval; raise `ValueError` where there is none of this name."""
    if name not in names():
        raise ValueError(f"There is no eval {name!r}: there are {', '.join(names())}.")
    try:
        found: Eval[Any, Any] = import_module(f"evals.{name}").EVAL
    except (AttributeError, ModuleNotFoundError) as error:
        raise ValueError(f"evals/{name}.py has to define EVAL: {error}") from error
    return found


def write_schemas(folder: Path = DATASETS) -> None:
    """Write a schema beside each dataset."""
    for name in names():
        (folder / f"{name}_schema.json").write_text(load(name).schema(), "utf-8")


async def evaluate(options: argparse.Namespace) -> int:
    """Run what `options` ask for, write the reports, and return the exit code."""
    if options.schemas:
        write_schemas()
        return 0
    wanted = options.name or names()
    found = {name: load(name) for name in wanted}
    async with open_service(options) as service:
        results = [
            await run(name, each, service, DATASETS, repeat=options.repeat)
            for name, each in found.items()
        ]
        spent = float(service.spent_usd())
    # Where it is made anew, it does not matter what the old one says, or whether it can be read.
    past = {
        each.name: None if options.save_baseline else baseline.load(each.name, _baselines(each))
        for each in results
    }
    reports = [Reported(each, gate.judge(each, past[each.name])) for each in results]
    costs = [before.cost_usd if before else None for before in past.values()]
    known = [cost for cost in costs if cost is not None]
    header = Header(
        model=", ".join(sorted({result.asked.model for result in results})),
        when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        spent_usd=spent,
        baseline_cost_usd=sum(known) if known and len(known) == len(costs) else None,
    )
    rulings = [report.ruling for report in reports]
    _write(options.html, html.render(reports, header))
    _write(options.markdown, markdown.render(reports, header))
    _write(options.junit, junit.write(reports))
    _write(options.json, json.dumps(gate.summary(rulings), indent=2) + "\n")
    table.show(reports, Console(), header)
    if options.html:
        print(f"More in {options.html}")
    if options.save_baseline:
        for result in results:
            print(f"{baseline.save(result, _baselines(result))} is the baseline now: commit it.")
        return 0
    return gate.exit_code(rulings)


def _baselines(result: Result) -> Path:
    """Return the folder of the model: only its own earlier answers say that it became worse."""
    return BASELINES / re.sub(r"[^\w.-]+", "-", result.asked.model)


def _write(path: Path | None, text: str) -> None:
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent == OWN:
            (OWN / ".gitignore").write_text("*\n")
        path.write_text(text, "utf-8", errors="replace")


def sentence(error: Exception) -> str:
    """Say in one line why nothing can be said of the answers."""
    if isinstance(error, ServiceError):
        return on_one_line(error.detail)
    known = isinstance(error, Unanswered | ValueError)
    return on_one_line(str(error) if known else f"{type(error).__name__}: {error}")


def end_with(parser: argparse.ArgumentParser, work: Callable[[], Coroutine[Any, Any, int]]) -> None:
    """Do the work and exit with its code; what went wrong is one line and exit code 2."""
    configure_logs("WARNING", "console")
    try:
        sys.exit(asyncio.run(work()))
    except Exception as error:
        parser.exit(2, f"{sentence(error)}\n")
    except KeyboardInterrupt:
        parser.exit(130)


def command(name: str) -> Callable[[Sequence[str]], None] | None:
    """Return what a word does that names no eval: `main` of the module of that name, if any."""
    if name in names() or not (FOLDER / f"{name}.py").exists():
        return None
    return getattr(import_module(f"evals.{name}"), "main", None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate what the command line asks for."""
    given = sys.argv[1:] if arguments is None else arguments
    if given and (does := command(given[0])):
        does(given[1:])
        return
    parser = argparse.ArgumentParser(prog="poe eval", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"{', '.join(names())}; all of them without one")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the verdicts as JSON")
    parser.add_argument("--junit", type=Path, metavar="PATH", help="write JUnit's XML")
    parser.add_argument("--markdown", type=Path, metavar="PATH", help="write a summary for CI")
    parser.add_argument(
        "--html", type=Path, metavar="PATH", default=OWN / "report.html", help="the report"
    )
    parser.add_argument(
        "--save-baseline", action="store_true", help="compare later runs with this one"
    )
    parser.add_argument(
        "--schemas", action="store_true", help="only write what editors know of the datasets"
    )
    add_options(parser)
    options = parser.parse_args(given)
    end_with(parser, lambda: evaluate(options))


if __name__ == "__main__":
    main()
