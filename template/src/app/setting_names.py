"""Settings by the names that people set, such as `SERVER__PORT`, and what is wrong with them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches

from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError as UnreadableError


class SettingsError(Exception):
    """The settings are unusable; the text names each that is wrong and what to do."""


def setting_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """List the names that set the fields of `model`, those of its sections included."""
    names: list[str] = []
    for field, info in model.model_fields.items():
        name = f"{prefix}{field}".upper()
        section = info.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            names += setting_names(section, prefix=f"{name}__")
        else:
            names.append(name)
    return names


def unknown_settings(model: type[BaseModel], given: Mapping[str, str | None]) -> list[str]:
    """Return a sentence for each name in `given` that looks like a setting but is none."""
    known = setting_names(model)
    sections = {name.split("__")[0] for name in known if "__" in name}
    return [
        _unknown(name.upper(), known)
        for name in given
        if name.upper().split("__")[0] in sections
        and "__" in name
        and not name.upper().startswith(tuple(known))
    ]


@contextmanager
def explained(model: type[BaseModel]) -> Iterator[None]:
    """Turn a validation error of the settings `model` into a `SettingsError`."""
    try:
        yield
    except ValidationError as error:
        known = setting_names(model)
        lines = [
            _sentence("__".join(str(part) for part in e["loc"]).upper(), e["type"], e["msg"], known)
            for e in error.errors(include_url=False, include_input=False)
        ]
        raise SettingsError("\n".join(lines)) from None
    except UnreadableError as error:
        raise SettingsError(f"{error}: write it as JSON") from None


def _sentence(name: str, kind: str, message: str, known: list[str]) -> str:
    if kind == "extra_forbidden":
        return _unknown(name, known)
    reason = message.removeprefix("Value error, ")
    return f"{name}: {reason}" if name else reason


def _unknown(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"{name}: unknown setting" + (f"; did you mean {close[0]}?" if close else "")
