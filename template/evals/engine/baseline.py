"""What the cases came to before: one committed file a module, in a folder a model.

A case is a line, so that a pull request shows which cases changed.
"""

import json
import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, ValidationError

from evals.engine.results import Asked, Result


class Past(BaseModel, frozen=True, extra="forbid"):
    """A case as it was; `runs`: whether each passed."""

    case: str
    slice: str
    must_pass: bool
    runs: tuple[bool, ...] = Field(min_length=1)

    @property
    def rate(self) -> float:
        return sum(self.runs) / len(self.runs)

    @property
    def passed(self) -> bool:
        return all(self.runs)


class Baseline(BaseModel, frozen=True, extra="forbid"):
    """A result without its texts and costs: what a later one is compared with."""

    asked: Asked
    cases: tuple[Past, ...] = Field(min_length=1)
    # None where a price was not known.
    cost_usd: float | None = None

    @classmethod
    def of(cls, result: Result) -> Self:
        cases = [
            Past(
                case=outcome.case,
                slice=outcome.slice,
                must_pass=outcome.must_pass,
                runs=tuple(run.passed for run in outcome.runs),
            )
            for outcome in result.outcomes
        ]
        ordered = tuple(sorted(cases, key=lambda past: past.case))
        return cls(asked=result.asked, cases=ordered, cost_usd=result.cost_usd)


def save(result: Result, folder: Path) -> Path:
    """Write the module's baseline, whole or not at all; return its path."""
    baseline = Baseline.of(result)
    said = baseline.asked.model_dump(exclude_none=True)
    asked = json.dumps(said, indent=2, sort_keys=True, ensure_ascii=False)
    cases = ",\n".join(json.dumps(past.model_dump(), ensure_ascii=False) for past in baseline.cases)
    cost = json.dumps(baseline.cost_usd)
    text = f'{{\n"asked": {asked},\n"cost_usd": {cost},\n"cases": [\n{cases}\n]\n}}\n'
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.name}.json"
    written = path.with_suffix(".tmp")
    written.write_text(text, "utf-8")
    os.replace(written, path)
    return path


def load(name: str, folder: Path) -> Baseline | None:
    """Read the module's baseline; None where it has none yet."""
    path = folder / f"{name}.json"
    try:
        return Baseline.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise ValueError(
            f"{path} is no baseline ({where or 'file'}: {fault['msg']}). Restore it from git,"
            " or save a new one with `poe eval --save-baseline`."
        ) from error
