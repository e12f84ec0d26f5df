"""Prompts as versioned files: `src/app/prompts/<name>/<version>.md`.

A file is TOML between two lines of `+++` (description, inputs, model parameters), then a Jinja
template. A published version has its digest beside it, in `<version>.lock`, and never changes, so a
version in the logs says exactly what a model was told. `poe prompt` lists and locks them.
"""

import argparse
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from jinja2 import StrictUndefined, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, Field, model_validator
from pydantic_ai.settings import ModelSettings

from app.settings import load_settings

FOLDER: Final = Path(__file__).parent.parent / "prompts"
_JINJA: Final = ImmutableSandboxedEnvironment(undefined=StrictUndefined)


class PromptError(ValueError):
    """A prompt cannot be used; the text says which, why and what to do."""


class Prompt(BaseModel, frozen=True, extra="forbid", hide_input_in_errors=True):
    """One version of a prompt."""

    name: str
    version: str = Field(pattern=r"^[1-9][0-9]*$")
    body: str
    description: str
    inputs: frozenset[str] = frozenset()
    # pydantic-ai's model settings.
    parameters: dict[str, Any] = {}
    # Published: it cannot change any more.
    locked: bool

    @model_validator(mode="after")
    def refuse_what_cannot_work(self) -> Self:
        used = meta.find_undeclared_variables(_JINJA.parse(self.body))
        if used != self.inputs:
            raise ValueError(f"it declares the inputs {sorted(self.inputs)}, uses {sorted(used)}")
        if unknown := self.parameters.keys() - ModelSettings.__annotations__.keys():
            raise ValueError(f"it has unknown parameters: {sorted(unknown)}")
        return self

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"

    @property
    def digest(self) -> str:
        """What tells this text, with these parameters, from any other."""
        content = json.dumps([self.body, self.parameters], sort_keys=True).encode()
        return hashlib.sha256(content).hexdigest()[:12]

    def render(self, **inputs: object) -> str:
        """Fill in the declared inputs: all of them, and no others."""
        if inputs.keys() != self.inputs:
            wants, got = sorted(self.inputs), sorted(inputs)
            raise PromptError(f"prompt {self} takes the inputs {wants} and was given {got}")
        return _JINJA.from_string(self.body).render(inputs)


@dataclass(frozen=True)
class Prompts:
    """Every prompt by name and version ("chat/1"), in order, and the active version of each."""

    versions: Mapping[str, Prompt]
    active: Mapping[str, str]

    @classmethod
    def load(cls, active: Mapping[str, str], folder: Path = FOLDER) -> Self:
        """Read and check all prompts; where `active` names no version it is the highest."""
        found = sorted(map(_read, folder.glob("*/*.md")), key=lambda p: (p.name, int(p.version)))
        newest = {prompt.name: prompt.version for prompt in found}
        prompts = cls({str(prompt): prompt for prompt in found}, {**newest, **active})
        for name in prompts.active:
            prompts.get(name)
        return prompts

    def get(self, name: str, version: str | None = None) -> Prompt:
        """Return the active version of a prompt, or the given one."""
        wanted = "/".join(filter(None, [name, version or self.active.get(name)]))
        if wanted not in self.versions:
            hint = "LLM__PROMPTS: " if name in self.active and not version else ""
            raise PromptError(f"{hint}there is no prompt {wanted}, only {', '.join(self.versions)}")
        return self.versions[wanted]


def _read(path: Path) -> Prompt:
    name, version, lock = path.parent.name, path.stem, path.with_suffix(".lock")
    try:
        parts = re.fullmatch(r"\+\+\+\n(.*?)^\+\+\+\n(.*)", path.read_text("utf-8"), re.M | re.S)
        if not parts:
            raise ValueError("it must begin with front matter between two lines of +++")
        file = {"name": name, "version": version, "locked": lock.exists()}
        front = tomllib.loads(parts[1])
        prompt = Prompt.model_validate(front | file | {"body": parts[2].strip()})
        if prompt.locked and lock.read_text().strip() != prompt.digest:
            raise ValueError("it changed after it was published: restore it, write a new version")
    except (ValueError, TemplateError) as error:
        raise PromptError(f"prompt {name}/{version}: {error}") from error
    return prompt


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> None:
    """Run `list`, `show`, `render` or `lock`."""
    parser = argparse.ArgumentParser(prog="poe prompt")
    parser.add_argument("command", choices=["list", "show", "render", "lock"])
    parser.add_argument("prompt", nargs="?", default="", help="NAME or NAME@VERSION")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args(arguments)
    try:
        prompts = Prompts.load(load_settings().llm.prompts, folder)
        if options.command == "lock":
            for prompt in prompts.versions.values():
                if not prompt.locked:
                    (folder / f"{prompt}.lock").write_text(f"{prompt.digest}\n")
                    snapshot = Path("tests/llm/snapshots", f"{prompt}.md")
                    missing = "" if snapshot.exists() else f"; a test waits for {snapshot}"
                    print(f"{prompt} is locked{missing}")
        elif options.command == "list":
            for p in prompts.versions.values():
                state = "active" if p is prompts.get(p.name) else ""
                draft = "locked" if p.locked else "draft"
                print(f"{p!s:<16} {state:<6} {draft:<6} {p.digest}  {p.description}")
        else:
            name, _, version = options.prompt.partition("@")
            prompt = prompts.get(name, version)
            inputs = dict(given.partition("=")[::2] for given in options.input)
            print(prompt.render(**inputs) if options.command == "render" else prompt.body)
    except (ValueError, TemplateError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
