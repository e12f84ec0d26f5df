"""Settings by the names that people set, such as `SERVER__PORT`, and what is wrong with them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from dotenv import dotenv_values
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError as UnreadableError

from app.errors import message_of


class SettingsError(ValueError):
    """The settings are unusable; the text names each that is wrong and what to do."""


def setting_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """List the names that set the fields of `model`, those of its sections included."""
    names: list[str] = []
    for field, info in model.model_fields.items():
        name, kind = f"{prefix}{field}".upper(), info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += setting_names(kind, prefix=f"{name}__")
        else:
            names.append(name)
    return names


def without_sections(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what is only named like a section, and no JSON: `LOG=/var/log` of somebody's shell."""
    sections = model.model_fields.keys() - {name.lower() for name in setting_names(model)}
    foreign = {name for name in sections if not str(given.get(name)).lstrip().startswith("{")}
    return {name: value for name, value in given.items() if name not in foreign}


def unknown_settings(model: type[BaseModel]) -> list[str]:
    """Return a sentence for each name in `.env` that sets nothing in `model`.

    Most of the environment is somebody else's, so of that only what looks misspelt counts.
    """
    known = setting_names(model)
    # Behind the name of a dictionary comes a key of it.
    keyed = tuple(f"{name}__" for name in known) + getattr(model, "read_elsewhere", ())
    misspelt = [name for name in os.environ if get_close_matches(name, known, cutoff=0.9)]
    names = dict.fromkeys(name.upper() for name in (*dotenv_values(".env"), *misspelt))
    return [_unknown(n, known) for n in names if n not in known and not n.startswith(keyed)]


@contextmanager
def explained(model: type[BaseModel]) -> Iterator[None]:
    """Turn a validation error of the settings `model` into a `SettingsError`."""
    try:
        yield
    except ValidationError as error:
        known = setting_names(model)
        raise SettingsError("\n".join(_sentence(e, known) for e in error.errors())) from None
    except UnreadableError as error:
        # The error itself knows only the section and what could not be read.
        given, read = {**dotenv_values(".env"), **os.environ}, getattr(error.__cause__, "doc", "")
        names = [name for name in setting_names(model) if given.get(name) == read]
        name = " or ".join(names) or str(error)
        raise SettingsError(f"{name}: a list or an object is written as JSON") from None


def _sentence(error: ErrorDetails, known: list[str]) -> str:
    name = "__".join(map(str, error["loc"])).upper()
    if error["type"] == "extra_forbidden":
        return _unknown(name, known)
    reason = message_of(error)
    return f"{name}: {reason}" if name else reason


def _unknown(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"{name}: unknown setting" + (f"; did you mean {close[0]}?" if close else "")
