"""What can be answered: the capabilities, the choices within them, and every valid combination.

A new capability is one word in CAPABILITIES (and its rule in `is_valid`); a new choice is one
entry in CHOICES. Everything else in tests/ follows from these.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

Answers = dict[str, str | bool]


class Choice(NamedTuple):
    """One of several values, asked only where `capability` is on; the first is the default."""

    capability: str
    values: tuple[str, ...]


CAPABILITIES = ("llm", "rag", "agent", "evals", "monitoring", "docker", "ci")
CHOICES = {
    "llm_provider": Choice("llm", ("openai", "anthropic", "both")),
    "ci_provider": Choice("ci", ("github", "gitlab")),
}
# One that cannot stand without the other.
NEEDS = {"agent": "llm"}
# Capabilities that change none of src, tests and pyproject.toml.
AROUND_THE_SERVICE = ("docker", "ci")
# It changes nothing of src, and of the others' tests nothing.
BESIDE_THE_SERVICE = "evals"


def is_valid(answers: Answers) -> bool:
    """Tell whether these capabilities can stand together."""
    if any(answers[name] and not answers[needed] for name, needed in NEEDS.items()):
        return False
    return bool(not answers["evals"] or answers["llm"] or answers["rag"])


def _is_distinct(answers: Answers) -> bool:
    """Leave out what says nothing new: monitoring has no file in common with docker and ci."""
    github = answers.get("ci_provider", "github") == "github"
    return bool(answers["monitoring"] or (answers["docker"] == answers["ci"] and github))


def combinations() -> list[Answers]:
    """Return every combination of the capabilities, and of the choices within those that are on."""
    found: list[Answers] = []
    for switches in product((True, False), repeat=len(CAPABILITIES)):
        on = dict(zip(CAPABILITIES, switches, strict=True))
        open_choices = {name: c.values for name, c in CHOICES.items() if on[c.capability]}
        for values in product(*open_choices.values()):
            found.append({**on, **dict(zip(open_choices, values, strict=True))})
    return found


VALID = [answers for answers in combinations() if is_valid(answers) and _is_distinct(answers)]
FULL = VALID[0]
MINIMAL: Answers = dict.fromkeys(CAPABILITIES, False)
# Each distinct set of src and of tests; test_ownership.py holds that these are all.
_BARE = [answers for answers in VALID if not any(answers[name] for name in AROUND_THE_SERVICE)]
SERVICES = [answers for answers in _BARE if not answers[BESIDE_THE_SERVICE]]
# The same again, with evals.
WITH_EVALS = [answers for answers in _BARE if answers[BESIDE_THE_SERVICE]]


def _is_proved(answers: Answers) -> bool:
    """Choose about half of the services with monitoring, and half without.

    It touches the others only where they are put together, and so each with and without it, and
    with each of the others, is proof enough (test_ownership.py).
    """
    others = [name for name in CAPABILITIES if answers[name] and name != "monitoring"]
    provider = CHOICES["llm_provider"].values.index(str(answers.get("llm_provider", "openai")))
    if others in ([], ["rag"]) or (others == ["llm", "rag", "agent"] and not provider):
        return True
    return answers["monitoring"] is ((len(others) + provider) % 2 == 0)


# Those that are installed and tested.
PROVED = [answers for answers in SERVICES if _is_proved(answers)]


def label(answers: Answers) -> str:
    """Name a combination in a test's id: `llm=both+docker`."""
    on = [name for name in CAPABILITIES if answers.get(name)]
    chosen = {
        choice.capability: str(answers[name]) for name, choice in CHOICES.items() if name in answers
    }
    return (
        "+".join(f"{name}={chosen[name]}" if name in chosen else name for name in on) or "minimal"
    )


def without(answers: Answers, *capabilities: str) -> Answers:
    """Return `answers` with these capabilities off, and what cannot stand without them."""
    capabilities += tuple(name for name, needed in NEEDS.items() if needed in capabilities)
    closed = [name for name, choice in CHOICES.items() if choice.capability in capabilities]
    kept = {name: value for name, value in answers.items() if name not in closed}
    return {**kept, **dict.fromkeys(capabilities, False)}
