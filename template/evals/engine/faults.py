"""What is wrong with a dataset, in a line for who writes it: which case, which field, and why."""

from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

# What a field of this kind has to be, in the words of YAML.
_KINDS: Final = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "names with values",
    "list_type": "a list",
    "model_type": "names with values",
    "string_type": "a text: quote it",
}


def fault_in(path: Path, error: Exception) -> str:
    """Say why the dataset at `path` cannot be used; `error` is what reading it raised."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"{path}, line {error.problem_mark.line + 1}: {error.problem}."
    if isinstance(error, ExceptionGroup):
        return f"{path} names an evaluator: put it into evals/{path.stem}.py instead."
    wrong = error if isinstance(error, ValidationError) else error.__cause__
    if not isinstance(wrong, ValidationError):
        return f"{path} cannot be read: {error}."
    first = wrong.errors()[0]
    match first["loc"]:
        case ("cases", int(number), *fields):
            return f"{path}, {_case(path, number)}: {_said(fields, first)}."
        case fields:
            return f"{path}: {_said(fields, first)}."


def _case(path: Path, number: int) -> str:
    """Name a case as its author finds it."""
    case = yaml.safe_load(path.read_text("utf-8"))["cases"][number]
    name = case.get("name") if isinstance(case, dict) else None
    return f"case {name!r}" if isinstance(name, str) else f"case number {number + 1}"


def _said(fields: Any, fault: Any) -> str:
    field = ".".join(map(str, fields)) or "it"
    match fault["type"]:
        case "missing":
            return f"{field} is missing"
        case "extra_forbidden":
            return f"{field} is no known field"
        case kind if kind in _KINDS:
            return f"{field} has to be {_KINDS[kind]}"
    return f"{field}: {fault['msg'].replace('Input should be', 'it has to be')}"
