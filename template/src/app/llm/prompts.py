"""Prompts as versioned files: `src/app/prompts/<name>/<version>.md`.

A file is TOML between two lines of `+++` (description, inputs, model parameters), then a Jinja
template. `lock.json` beside it holds the digests of the published versions: those never change,
so a version in the logs says exactly what a model was told. `poe prompt` lists and locks them.
"""

import argparse
import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Self, cast

from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_ai.settings import ModelSettings

from app.setting_names import SettingsError
from app.settings import load_settings


class PromptError(ValueError):
    """A prompt cannot be used; the text says which, why and what to do."""


class _FrontMatter(BaseModel, extra="forbid"):
    description: str
    inputs: frozenset[str] = frozenset()
    parameters: dict[str, JsonValue] = {}


@dataclass(frozen=True)
class Prompt:
    """One version of a prompt."""

    name: str
    version: str
    description: str
    inputs: frozenset[str]
    parameters: ModelSettings
    body: str
    template: Template
    digest: str

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"

    def render(self, **inputs: object) -> str:
        """Fill in the declared inputs: all of them, and no others."""
        if inputs.keys() != self.inputs:
            wants, got = sorted(self.inputs), sorted(inputs)
            raise PromptError(f"prompt {self} takes the inputs {wants} and was given {got}")
        try:
            return self.template.render(inputs)
        except TemplateError as error:
            raise PromptError(f"prompt {self}: {error}") from error


@dataclass(frozen=True)
class Prompts:
    """Every version of every prompt, and which one is active."""

    versions: Mapping[str, Mapping[str, Prompt]]
    active: Mapping[str, str]

    @classmethod
    def load(cls, active: Mapping[str, str], folder: Traversable | None = None) -> Self:
        """Read and check all prompts; where `active` names no version it is the highest."""
        folders = sorted((folder or _folder()).iterdir(), key=lambda path: path.name)
        versions = {path.name: found for path in folders if (found := _versions(path))}
        newest = {name: max(found, key=int) for name, found in versions.items()}
        prompts = cls(versions, {**newest, **active})
        for name in prompts.active:
            prompts.get(name)
        return prompts

    def get(self, name: str, version: str | None = None) -> Prompt:
        """Return the active version of a prompt, or the given one."""
        wanted = version or self.active.get(name, "")
        try:
            return self.versions[name][wanted]
        except KeyError:
            known = ", ".join(map(str, self.all))
            raise PromptError(
                f"there is no prompt {name}/{wanted}, only {known}: see LLM__PROMPTS"
            ) from None

    @property
    def all(self) -> list[Prompt]:
        """Every version, in the order of names and numbers."""
        return [prompt for versions in self.versions.values() for prompt in versions.values()]

    async def check(self, *, thorough: bool = False) -> str:
        """Name the active versions."""
        return ", ".join(f"{name}/{version}" for name, version in self.active.items())


def locked(folder: Traversable) -> dict[str, str]:
    """Return the digests of the published versions in a prompt's folder."""
    path = folder / "lock.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def lock(prompts: Prompts, folder: Path) -> None:
    """Publish every version there is: none of them can change any more."""
    for name, versions in prompts.versions.items():
        digests = locked(folder / name) | {v: prompt.digest for v, prompt in versions.items()}
        (folder / name / "lock.json").write_text(json.dumps(digests, indent=2) + "\n")


def _folder() -> Traversable:
    return files("app") / "prompts"


def _versions(folder: Traversable) -> dict[str, Prompt]:
    if not folder.is_dir():
        return {}
    versions = [path.name.removesuffix(".md") for path in folder.iterdir()]
    numbers = sorted((version for version in versions if version.isdigit()), key=int)
    prompts = {version: _read(folder, version) for version in numbers}
    for version, digest in locked(folder).items():
        if version in prompts and prompts[version].digest != digest:
            raise PromptError(
                f"prompt {prompts[version]} changed after it was published:"
                f" restore it, or write {folder.name}/{int(numbers[-1]) + 1}.md"
            )
    return prompts


def _read(folder: Traversable, version: str) -> Prompt:
    text = (folder / f"{version}.md").read_text(encoding="utf-8")
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    try:
        if not (parts := re.fullmatch(r"\+\+\+\n(.*?)^\+\+\+\n(.*)", text, re.M | re.S)):
            raise ValueError("it must begin with front matter between two lines of +++")
        front = _FrontMatter.model_validate(tomllib.loads(parts[1]))
        body = parts[2].strip()
        used = meta.find_undeclared_variables(environment.parse(body))
        if used != front.inputs:
            raise ValueError(f"it declares the inputs {sorted(front.inputs)}, uses {sorted(used)}")
        if unknown := front.parameters.keys() - ModelSettings.__annotations__.keys():
            raise ValueError(f"it has unknown parameters: {sorted(unknown)}")
        template = environment.from_string(body)
    except (ValueError, TemplateError) as error:
        why = str(error)
        if isinstance(error, ValidationError):
            why = "; ".join(f"{wrong['loc'][0]}: {wrong['msg']}" for wrong in error.errors())
        raise PromptError(f"prompt {folder.name}/{version}: {why}") from error
    parameters = cast(ModelSettings, front.parameters)
    content = json.dumps([body, parameters], sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()[:12]
    about = (front.description, front.inputs, parameters)
    return Prompt(folder.name, version, *about, body, template, digest)


def main(arguments: Sequence[str] | None = None, folder: Path | None = None) -> int:
    """Run `list`, `show`, `render` or `lock`, and return the exit code."""
    parser = argparse.ArgumentParser(prog="poe prompt")
    parser.add_argument("command", choices=["list", "show", "render", "lock"])
    parser.add_argument("prompt", nargs="?", default="", help="NAME or NAME@VERSION")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args(arguments)
    try:
        prompts = Prompts.load(load_settings().llm.prompts, folder)
        if options.command == "lock":
            lock(prompts, folder or Path(str(_folder())))
        elif options.command == "list":
            for p in prompts.all:
                state = "active" if p is prompts.get(p.name) else ""
                draft = "locked" if p.version in locked((folder or _folder()) / p.name) else "draft"
                print(f"{p!s:<16} {state:<6} {draft:<6} {p.digest}  {p.description}")
        else:
            name, _, version = options.prompt.partition("@")
            prompt = prompts.get(name, version)
            inputs = dict(given.partition("=")[::2] for given in options.input)
            print(prompt.render(**inputs) if options.command == "render" else prompt.body)
    except (PromptError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
