"""Who may import whom: HTTP stays at the edge, and dependencies point one way."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import app

SOURCE = Path(app.__file__).parent
# Beside each package's `routes`, these import FastAPI.
EDGE = {"app.errors", "app.health", "app.main", "app.security"}


def name_of(path: Path) -> str:
    """Return the dotted name of a module from its file."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Return what a file imports, anywhere in it: `from a import b` counts as `a` and as `a.b`."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: write the whole name of what is imported"
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return imported


IMPORTS = {name_of(path): imports_of(path) for path in sorted(SOURCE.rglob("*.py"))}


def importing(*libraries: str) -> set[str]:
    """Return the modules that import any of these libraries."""
    return {
        name
        for name, imported in IMPORTS.items()
        if any(one.split(".")[0] in libraries for one in imported)
    }


def test_only_the_edge_imports_fastapi() -> None:
    assert {name for name in importing("fastapi") if not name.endswith(".routes")} <= EDGE


def test_what_does_the_work_knows_no_http() -> None:
    """So it also runs in a command or a job. Errors and logs alone serve both sides."""
    speaking = importing("fastapi", "starlette") - {"app.errors", "app.telemetry"}
    leaking = {
        name: imported & speaking for name, imported in IMPORTS.items() if name not in speaking
    }
    assert {name: imported for name, imported in leaking.items() if imported} == {}


def test_no_module_imports_itself_through_others() -> None:
    inside = {name: imported & IMPORTS.keys() - {name} for name, imported in IMPORTS.items()}
    list(TopologicalSorter(inside).static_order())


def test_packages_depend_on_one_another_one_way() -> None:
    packages = [path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()]
    reaching = {
        package: {
            other
            for name, imported in IMPORTS.items()
            if name.startswith(f"app.{package}.")
            for other in packages
            if other != package and any(one.startswith(f"app.{other}.") for one in imported)
        }
        for package in packages
    }
    list(TopologicalSorter(reaching).static_order())


def test_only_routes_and_commands_know_how_the_service_is_put_together() -> None:
    """What does the work is given what it needs, so that it can be tested and used by itself."""
    composition = {"app.main", "app.resources", "app.settings"}
    knowing = {
        name for name, imported in IMPORTS.items() if name.count(".") > 1 and imported & composition
    }
    commands = {name for name, imported in IMPORTS.items() if "argparse" in imported}
    assert {name for name in knowing - commands if not name.endswith(".routes")} == set()
