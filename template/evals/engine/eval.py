"""An eval: what is asked of the service for each case, and how the answers are judged.

`EVAL` in `evals/<name>.py` is one, and `evals/datasets/<name>.yaml` has its cases. The floors are
for every model: what is reached beyond them is for the baseline to hold.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_ai.models import Model
from pydantic_evals import Dataset
from pydantic_evals.evaluators import Evaluator
from pydantic_evals.reporting import ReportCase

from app.resources import Resources
from evals.engine.faults import fault_in

# What a check of single claims is called.
CLAIMS: Final = "claims"

In = TypeVar("In")
Out = TypeVar("Out")

Cases = Sequence[ReportCase[Any, Any, Any]]
# A title, and rows of cells; the first row is the header.
Tables = dict[str, list[list[Any]]]


class About(BaseModel, extra="forbid"):
    """What a case says of itself, as `metadata` in a dataset."""

    # What floors are set for, beside "all".
    slice: str = "all"
    # It fails the gate by itself.
    must_pass: bool = False
    # Where it comes from, such as the id of a response.
    source: str | None = None
    # Who says that it is right; with null nobody does, and it is not asked.
    reviewed_by: str | None = ""


@dataclass(frozen=True)
class Eval(Generic[In, Out]):
    """`asked` names the model that answers, and the prompts: version -> digest."""

    dataset: type[Dataset[In, Out, About]]
    # Of what `opened` gives, a question.
    ask: Callable[[Any, In], Awaitable[Out]]
    asked: Callable[[Resources], tuple[str, Mapping[str, str]]]
    evaluators: Sequence[Evaluator[In, Out, About]]
    # What is open while it is asked: the service itself, or something around it.
    opened: Callable[[Resources], AbstractAsyncContextManager[Any]] = nullcontext
    # Names the model that searches, where another one answers from what it finds.
    search: Callable[[Resources], str | None] = lambda _: None
    # Slice -> the least share of its cases that has to pass; "all" is every case.
    floors: Mapping[str, float] = field(default_factory=dict)
    # What a judge is told to ask of an answer, where one is named.
    rubric: str | None = None
    # That judge and the digest of its text, where a case may fail by it: `--judge` puts it here.
    judge: str | None = None
    # More for the judge's model to look at, which never decides: it is not calibrated for it.
    claims: Callable[[Model], Sequence[Evaluator[In, Out, About]]] = lambda _: ()
    # What belongs to no single case, such as a confusion matrix.
    tables: Callable[[Cases], Tables] = lambda _: {}

    def load(self, path: Path) -> Dataset[In, Out, About]:
        """Read the cases; raise `ValueError` with a sentence where they cannot be used."""
        for name, floor in self.floors.items():
            if not 0 <= floor <= 1:
                raise ValueError(
                    f"evals/{path.stem}.py: the floor of {name} is {floor:g}, and has to be from 0"
                    " to 1."
                )
        try:
            dataset = self.dataset.from_file(path)
        except (OSError, yaml.YAMLError, ValidationError, ValueError, ExceptionGroup) as error:
            raise ValueError(fault_in(path, error)) from error
        if not dataset.cases:
            raise ValueError(f"{path} has no cases.")
        if unnamed := sum(not case.name for case in dataset.cases):
            raise ValueError(f"{path} has {unnamed} cases without a name: name each.")
        dataset.evaluators = [*dataset.evaluators, *self.evaluators]
        return dataset

    def schema(self) -> str:
        """Return what an editor has to know of the dataset's file, as JSON Schema."""
        schema = self.dataset.model_json_schema_with_evaluators()
        # Evaluators are put on in code, where they are checked.
        for part in (schema, schema["$defs"]["Case"]):
            for name in ("evaluators", "report_evaluators"):
                part["properties"].pop(name, None)
        wanted = _referred({name: part for name, part in schema.items() if name != "$defs"})
        while more := _referred([schema["$defs"][name] for name in wanted]) - wanted:
            wanted |= more
        schema["$defs"] = {name: schema["$defs"][name] for name in sorted(wanted)}
        return json.dumps(schema, indent=2) + "\n"


def _referred(schema: Any) -> set[str]:
    return set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(schema)))
