"""Write cookiecutter.json from the questions in copier.yml (--check: only tell if it is so)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "cookiecutter.json"


def main() -> str | None:
    """Write the file, or return what is wrong with it."""
    config = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    text = json.dumps(convert(config), indent=2, ensure_ascii=False) + "\n"
    if "--check" not in sys.argv:
        TARGET.write_text(text, encoding="utf-8")
    elif not TARGET.is_file() or TARGET.read_text(encoding="utf-8") != text:
        return "cookiecutter.json is out of date: run python scripts/sync_cookiecutter.py"
    return None


def convert(config: dict[str, Any]) -> dict[str, Any]:
    """Turn Copier's questions into Cookiecutter's defaults and prompts."""
    questions = {name: value for name, value in config.items() if not name.startswith("_")}
    answers: dict[str, Any] = {}
    prompts: dict[str, Any] = {}
    for name, question in questions.items():
        default, choices = question["default"], question.get("choices")
        if choices:
            # Cookiecutter's default is the first of the choices.
            answers[name] = sorted(choices.values(), key=lambda value: value != default)
            labels = {value: label for label, value in choices.items()}
            prompts[name] = {"__prompt__": question["help"], **labels}
        else:
            answers[name] = (
                prefixed(default, set(questions)) if isinstance(default, str) else default
            )
            prompts[name] = question["help"]
    return {**answers, "__prompts__": prompts}


def prefixed(source: str, names: set[str]) -> str:
    """Turn `{{ project_name }}` into `{{ cookiecutter.project_name }}`."""
    written, previous = [], ""
    for _, kind, token in Environment().lex(source):  # noqa: S701 (nothing is rendered)
        is_question = kind == "name" and token in names and previous not in {".", "|"}
        written.append(f"cookiecutter.{token}" if is_question else token)
        previous = previous if kind == "whitespace" else token
    return "".join(written)


if __name__ == "__main__":
    sys.exit(main())
