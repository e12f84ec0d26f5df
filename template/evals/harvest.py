"""`poe eval harvest`: make cases of the responses that went wrong.

Those are what a caller rated down, or a check found wrong, unless it was rated up. They are put at
the end of the datasets, redacted as they were kept, and with `reviewed_by: null`: what the answer
should have been, only a person can say. What is in a dataset already is not put there again.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Row, text

from app.db.engine import Database, open_database
from app.llm.fill import words
from app.monitoring.quality.checks import LOW

from app.settings import load_settings
from evals.__main__ import DATASETS, end_with, load, names
from evals.engine.reports import on_one_line

_NO_CONTENT: Final = "without content: MONITORING__CAPTURE_CONTENT=true keeps that of later ones"
_NO_DATASET: Final = "of prompts that no dataset of this form is asked with"
_KNOWN: Final = "that a dataset has already"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines with marks for their ends, so that all can be indented."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"'
    ),
)


@dataclass(frozen=True)
class Candidate:
    """A case that somebody has to review; `why` and `answer` help with that."""

    case: dict[str, Any]
    why: str
    answer: str

    def written(self, indent: str) -> str:
        """Return it as lines of a dataset."""
        told = f"# {on_one_line(self.why)}\n# It answered: {on_one_line(self.answer)}\n"
        case = yaml.dump(
            [self.case], Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
        )
        return "".join(f"{indent}{line}\n" for line in (told + case).split("\n") if line)


async def harvest(database: Database, days: int, folder: Path = DATASETS) -> str:
    """Append candidates to the datasets; say what was found, and what was left out."""
    evals = _evals()
    found: dict[str, list[Candidate]] = {}
    skipped: Counter[str] = Counter()
    known = {name: _known(folder / f"{name}.yaml") for name in evals.values()}
    for row in await _read(database, days):
        name = evals.get(row.prompt)
        if row.request is None:
            skipped[_NO_CONTENT] += 1
        elif name is None or (inputs := _inputs(name, json.loads(row.request))) is None:
            skipped[_NO_DATASET] += 1
        elif {row.id, json.dumps(inputs)} & known[name]:
            skipped[_KNOWN] += 1
        else:
            known[name] |= {row.id, json.dumps(inputs)}
            found.setdefault(name, []).append(_candidate(row, inputs))
    for name, candidates in found.items():
        append(folder / f"{name}.yaml", candidates)
    lines = [f"{folder / name}.yaml: {len(new)} new" for name, new in found.items()]
    lines += ["Nothing new." if not found else "Fill in expected_output and reviewed_by."]
    return "\n".join([*lines, *(f"Left out: {count} {why}." for why, count in skipped.items())])


def append(path: Path, candidates: Sequence[Candidate]) -> None:
    """Put candidates at the end of a dataset, which otherwise stays as its author wrote it."""
    before = path.read_text("utf-8")
    first = re.search(r"^cases:[^\n]*\n(?:\s*#[^\n]*\n)*( *)- ", before, re.MULTILINE)
    indent = first[1] if first else ""
    lines = "".join(each.written(indent) for each in candidates)
    after = before.rstrip("\n") + "\n" + lines
    wanted = yaml.safe_load(before)
    wanted["cases"] += [each.case for each in candidates]
    try:
        fits = yaml.safe_load(after) == wanted
    except yaml.YAMLError:
        fits = False
    if not fits:
        raise ValueError(f"{path}: make `cases` the last of it, a list with a line a field.")
    path.write_text(after, "utf-8")


def _evals() -> dict[str, str]:
    """Return the eval that asks with a prompt, by prompt."""
    evals: dict[str, str] = {}
    for name in names():
        for prompt in getattr(load(name).asked, "prompts", ()):
            evals.setdefault(prompt, name)
    return evals


def _known(path: Path) -> set[str]:
    cases = yaml.safe_load(path.read_text("utf-8"))["cases"]
    sources = {(case.get("metadata") or {}).get("source") for case in cases}
    return {json.dumps(case["inputs"]) for case in cases} | {each for each in sources if each}


def _inputs(name: str, asked: list[str]) -> Any:
    """Return what was asked in the form of the dataset; None where it does not fit."""
    if not asked:
        return None
    wanted = TypeAdapter(load(name).dataset.__pydantic_generic_metadata__["args"][0])
    for form in (asked, asked[-1], {"input": asked[-1]}):
        try:
            wanted.validate_python(form)
        except ValidationError:
            continue
        return form
    return None


def _candidate(row: Row[Any], inputs: Any) -> Candidate:
    low = [f"{name} {score:.2g}" for name, score in row.scores.items() if score < LOW]
    rated = [f"rated down: {row.comment or 'no comment'}"] if row.rating == "down" else []
    asked = " ".join(words(json.loads(row.request)[-1])[:6])
    return Candidate(
        {
            "name": f"{asked} {row.id[-6:]}".strip(),
            "inputs": inputs,
            "metadata": {"source": row.id, "reviewed_by": None},
        },
        why="; ".join([*rated, *low]),
        answer=row.response or "",
    )


async def _read(database: Database, days: int) -> Sequence[Row[Any]]:
    async with database.begin() as connection:
        return (await connection.execute(text(_BAD), {"days": days, "low": LOW})).all()


_BAD: Final = """
    SELECT id, prompt, scores, rating, comment, request, response FROM monitoring.responses
    WHERE created_at > now() - make_interval(days => :days) AND rating IS DISTINCT FROM 'up'
        AND (rating = 'down' OR EXISTS (
            SELECT FROM jsonb_each(scores) WHERE CAST(value AS float) < :low))
    ORDER BY created_at"""


async def _harvest(days: int) -> int:
    async with open_database(load_settings().database) as database:
        print(await harvest(database, days))
    return 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Harvest what the command line asks for."""
    parser = argparse.ArgumentParser(prog="poe eval harvest", description=__doc__)
    parser.add_argument("--days", type=int, default=7, help="how far to look back (default: 7)")
    options = parser.parse_args(arguments)
    if not 1 <= options.days <= 36_500:
        parser.error("--days takes a number from 1 to 36500")
    end_with(parser, lambda: _harvest(options.days))


if __name__ == "__main__":
    main()
