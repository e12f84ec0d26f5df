"""Who owns which file: each capability its own, and each pair that meets its own."""

from __future__ import annotations

import re
import tomllib
from hashlib import sha256
from itertools import combinations

import pytest
import yaml

from answers import (
    AROUND_THE_SERVICE,
    BESIDE_THE_SERVICE,
    CAPABILITIES,
    CHOICES,
    FULL,
    MINIMAL,
    NEEDS,
    PROVED,
    SERVICES,
    VALID,
    WITH_EVALS,
    Answers,
    label,
    without,
)
from conftest import ROOT, Render
from projects import tree

ANSWERS_FILE = ".copier-answers.yml"
# The full projects, one for each combination of choices.
FULLS = [answers for answers in VALID if all(answers[name] for name in CAPABILITIES)]
MANIFEST = next(
    entry
    for entry in yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))["_exclude"]
    if "{%" in entry
)
PROVIDERS = CHOICES["llm_provider"].values
BLOCK = re.compile(r"\{% if (?P<rule>.+) %\}\n(?P<paths>(?:/.+\n)+)\{% endif %\}\n")


def vanished(render: Render, full: Answers, *capabilities: str) -> set[str]:
    """Return the files of `full` that are gone when these capabilities are off."""
    return set(tree(render(full))) - set(tree(render(without(full, *capabilities))))


def owners(render: Render, full: Answers) -> dict[str, frozenset[str]]:
    """Return, for each file that any one capability takes away, the capabilities that do."""
    gone = {name: vanished(render, full, name) for name in CAPABILITIES}
    for name, needed in NEEDS.items():
        gone[needed] -= gone[name]
    return {
        path: frozenset(name for name in CAPABILITIES if path in gone[name])
        for path in set().union(*gone.values())
    }


@pytest.mark.parametrize("full", FULLS, ids=label)
def test_a_file_belongs_to_one_capability_or_to_one_pair(full: Answers, render: Render) -> None:
    owned = owners(render, full)
    assert {name for (name, *more) in owned.values() if not more} == set(CAPABILITIES)
    # Evals and tests of what a pair does are theirs and the pair's.
    beside = {"evals", "monitoring"}
    assert {path: names for path, names in owned.items() if len(names - beside) > 2} == {}


def shared(render: Render, full: Answers) -> set[str]:
    """Return the files that go only where all that an `or` in the manifest names is off."""
    # Evals cannot stand without any of them.
    partners = [["evals", *capabilities_in(rule)] for rule, _ in manifest() if " or " in rule]
    gone = {name: vanished(render, full, name) for name in CAPABILITIES}
    return {
        path
        for names in partners
        for path in vanished(render, full, *names)
        if not any(path in gone[name] for name in names)
    }


@pytest.mark.parametrize("full", FULLS, ids=label)
def test_all_off_is_full_without_what_each_takes_away(full: Answers, render: Render) -> None:
    gone = vanished(render, full, *CAPABILITIES)
    assert gone == set(owners(render, full)) | shared(render, full)
    assert set(tree(render(without(full, *CAPABILITIES)))) == set(tree(render(MINIMAL)))


@pytest.mark.parametrize("full", FULLS, ids=label)
def test_what_a_pair_shares_stands_in_the_pairs_own_block(full: Answers, render: Render) -> None:
    """Only there: neither partner's block may list it too, except by a folder that it owns."""
    blocks = {
        frozenset(capabilities_in(rule)): paths for rule, paths in manifest() if "_" not in rule
    }
    for path, names in owners(render, full).items():
        if len(names) == 2:
            assert any(f"/{path}/".startswith(f"{listed}/") for listed in blocks[names])


def manifest() -> list[tuple[str, list[str]]]:
    """Return the rule and the paths of each block."""
    return [(block["rule"], block["paths"].split()) for block in BLOCK.finditer(MANIFEST)]


def capabilities_in(rule: str) -> list[str]:
    return [name for name in CAPABILITIES if re.search(rf"\b{name}\b", rule)]


def test_the_manifest_is_plain_blocks_of_plain_paths() -> None:
    assert BLOCK.sub("", MANIFEST) == ""
    for rule, paths in manifest():
        # An older project has no answer to a newer question: that must leave nothing out.
        names = re.findall(r"\w+", re.sub("'.*?'", "", rule))
        asked = [name for name in names if name in {*CAPABILITIES, *CHOICES}]
        assert rule.count("| default(") == len(asked) > 0, rule
        assert not any("{" in path or path.endswith("/") for path in paths), rule
        assert paths == sorted(paths), rule


def test_no_path_stands_twice() -> None:
    paths = [path for _, paths in manifest() for path in paths]
    assert sorted(paths) == sorted(set(paths))


def test_every_path_leaves_something_out(render: Render) -> None:
    names = {f"/{name}" for answers in FULLS for name in tree(render(answers))}
    for _, paths in manifest():
        for path in paths:
            assert any(name == path or name.startswith(f"{path}/") for name in names), path


@pytest.mark.parametrize("answers", VALID, ids=label)
def test_no_folder_is_left_empty(answers: Answers, render: Render) -> None:
    project = render(answers)
    assert [path for path in project.rglob("*") if path.is_dir() and not any(path.iterdir())] == []


# --- What an answer changes ---------------------------------------------------------------------


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_changes_the_project(name: str, render: Render) -> None:
    projects = [tree(render({**FULL, name: value})) for value in CHOICES[name].values]
    for project in projects:
        project.pop(ANSWERS_FILE)
    assert all(one != other for one, other in combinations(projects, 2))


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_within_a_capability_that_is_off_changes_only_the_answers(
    name: str, render: Render
) -> None:
    choice = CHOICES[name]
    off = without(FULL, choice.capability)
    first, *others = (tree(render({**off, name: value})) for value in choice.values)
    for other in others:
        assert {path for path in first | other if first.get(path) != other.get(path)} == {
            ANSWERS_FILE
        }


def digest(project: dict[str, tuple[int, bytes]], *, with_evals: bool = True) -> str:
    """Digest what decides whether the service works: src, tests and pyproject.toml.

    Without evals it is src, the other tests, and what is installed for the service itself.
    """
    served = {
        name: text
        for name, (_, text) in project.items()
        if name.startswith(("src/", "tests/")) and not name.startswith("tests/evals/")
    }
    pyproject = project["pyproject.toml"][1].decode()
    served["dependencies"] = repr(tomllib.loads(pyproject)["project"]).encode()
    if with_evals:
        served |= {n: text for n, (_, text) in project.items() if n.startswith("tests/evals/")}
        served["pyproject.toml"] = pyproject.encode()
    return sha256(repr(sorted(served.items())).encode()).hexdigest()


@pytest.mark.parametrize("answers", VALID, ids=label)
def test_docker_and_ci_leave_the_service_as_it_is(answers: Answers, render: Render) -> None:
    """So each distinct service is in SERVICES, and test_services.py proves them all."""
    plain = without(answers, *AROUND_THE_SERVICE)
    assert plain in [*SERVICES, *WITH_EVALS]
    assert digest(tree(render(answers))) == digest(tree(render(plain)))


@pytest.mark.parametrize("answers", WITH_EVALS, ids=label)
def test_evals_leave_the_service_as_it_is(answers: Answers, render: Render) -> None:
    """Its code, its other tests and its dependencies, so that none of them needs another proof."""
    plain = without(answers, BESIDE_THE_SERVICE)
    assert plain in SERVICES
    digests = {digest(tree(render(each)), with_evals=False) for each in (answers, plain)}
    assert len(digests) == 1


def test_evals_are_the_same_with_each_provider_and_monitoring(render: Render) -> None:
    """So that only one of them needs to be proved."""
    found: dict[tuple[bool, ...], set[str]] = {}
    for answers in WITH_EVALS:
        if answers["llm"]:
            files = tree(render(answers)).items()
            evals = [
                file
                for file in files
                if re.match(r"(tests/)?evals/(?!(test_)?harvest\.py)", file[0])
            ]
            has_database = any(answers[name] for name in ("rag", "agent", "monitoring"))
            others = bool(answers["rag"]), bool(answers["agent"]), has_database
            found.setdefault(others, set()).add(repr(sorted(evals)))
    assert [len(distinct) for distinct in found.values()] == [1, 1, 1, 1, 1]


def test_a_provider_changes_llm_alone(render: Render) -> None:
    """And what is put together, so that the tests of all else pass with each where one passes."""
    projects = [tree(render({**FULL, "llm_provider": value})) for value in PROVIDERS]
    together = {"src/app/settings.py"}
    for one, other in combinations(projects, 2):
        changed = {path for path in one | other if one.get(path) != other.get(path)}
        of_code = {path for path in changed if path.startswith(("src/", "tests/"))}
        assert {path for path in of_code if not re.match(r"(src/app|tests)/llm/", path)} <= together


@pytest.mark.parametrize("answers", SERVICES, ids=label)
def test_monitoring_touches_what_is_put_together_alone(answers: Answers, render: Render) -> None:
    """So that a service with it proves its parts for the one without, and the other way round."""
    one, other = (tree(render({**answers, "monitoring": on})) for on in (True, False))
    changed = {path for path in one | other if one.get(path) != other.get(path)}
    of_code = {p for p in changed if p.startswith(("src/", "tests/"))}
    together = {f"src/app/{name}.py" for name in ("main", "resources", "settings")}
    owned = r"(src/app|tests)/monitoring/|src/app/web/feedback\.js|tests/evals/test_harvest\.py"
    owned += r"" if answers["llm"] else r"|src/app/pages\.py"
    if answers["llm"]:
        together |= {"src/app/web/index.html"}
    if answers["llm"] and not (answers["rag"] or answers["agent"]):
        # It brings the database, which others prove.
        owned += r"|(src/app|tests)/(db|workflows)/|src/app/work\.py"
        together |= {"src/app/__main__.py"}
    own = {path for path in of_code if re.match(owned, path)}
    assert of_code - own == together


def test_monitoring_and_what_is_around_the_service_have_one_file_in_common(render: Render) -> None:
    """So that the one needs not be rendered with and without each of the others."""
    one, other = (tree(render({**FULL, "monitoring": on})) for on in (True, False))
    changed = {path for path in one | other if one.get(path) != other.get(path)}
    around = {path for name in AROUND_THE_SERVICE for path in vanished(render, FULL, name)}
    of_both = around & vanished(render, FULL, "monitoring")
    assert changed & around - of_both == {"compose.yaml"}


def test_each_service_is_proved_with_monitoring_or_without() -> None:
    """And each of the other answers is proved with it and without it."""
    bare = [{**answers, "monitoring": True} for answers in PROVED]
    assert all({**answers, "monitoring": True} in bare for answers in SERVICES)
    for name, value in {(n, v) for answers in SERVICES for n, v in answers.items()}:
        found = {a["monitoring"] for a in PROVED if a.get(name) == value}
        assert name == "monitoring" or found == {True, False}, (name, value)


def test_no_two_services_are_the_same(render: Render) -> None:
    assert len({digest(tree(render(answers))) for answers in SERVICES}) == len(SERVICES)
