"""How much one gets: packages, megabytes and lines of code of a generated service.

A line counts when it holds code: comments, docstrings and blank lines do not. Packages and
megabytes are those of production, without development tools and without the project itself.
"""

from __future__ import annotations

import ast
import io
import tempfile
import tokenize
from pathlib import Path

from harness import (
    AGENT,
    LLM,
    MINIMAL,
    RAG,
    RAG_AND_LLM,
    install,
    print_table,
    render,
    verdict,
)

CASES = {
    "minimal": MINIMAL,
    "llm": LLM,
    "rag": RAG,
    "rag and llm": RAG_AND_LLM,
    "rag, llm and agent": AGENT,
}
MOST_PACKAGES = {"minimal": 30, "llm": 50}
# What a capability may bring to the service that lacks it.
MOST_ADDED = {
    "rag": ("minimal", 36),
    "rag and llm": ("llm", 16),
    "rag, llm and agent": ("rag and llm", 2),
}
MOST_LINES = {"minimal": 600, "llm": 1_300, "rag and llm": 2_900}
MOST_LINES_ADDED = {"rag, llm and agent": ("rag and llm", 1_200)}
SILENT = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}


def main() -> None:
    rows: list[list[str]] = []
    packages: dict[str, int] = {}
    lines: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, answers in CASES.items():
            project = render(Path(folder, name), answers)
            libraries = install(project).parents[1]
            packages[name] = len(list(libraries.rglob("*.dist-info"))) - 1
            sources = project.rglob("src/**/*.py")
            lines[name] = sum(len(code_lines(path.read_text())) for path in sources)
            rows += [
                [name, "packages", str(packages[name]), *packages_judged(name, packages)],
                [name, "MB installed", f"{megabytes(libraries):.0f}", "", ""],
                [name, "lines of code in src/", f"{lines[name]:,}", *lines_judged(name, lines)],
            ]
    print_table(["service", "", "measured", "target", ""], rows)


def packages_judged(name: str, packages: dict[str, int]) -> tuple[str, str]:
    if name not in MOST_ADDED:
        most = MOST_PACKAGES[name]
        return f"≤ {most}", verdict(packages[name], most)
    without, added = MOST_ADDED[name]
    return f"≤ {without} + {added}", verdict(packages[name], packages[without] + added)


def lines_judged(name: str, lines: dict[str, int]) -> tuple[str, str]:
    if name in MOST_LINES_ADDED:
        without, added = MOST_LINES_ADDED[name]
        return f"≤ {without} + {added:,}", verdict(lines[name], lines[without] + added)
    most = MOST_LINES.get(name)
    return (f"≤ {most:,}", verdict(lines[name], most)) if most else ("", "")


def code_lines(source: str) -> set[int]:
    """Return the numbers of the lines that hold code."""
    lines = {
        number
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in SILENT
        for number in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            text = node.body[0]
            lines -= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return lines


def megabytes(folder: Path) -> float:
    """Return the size of the files, without compiled ones, which are a choice."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files if path.suffix != ".pyc") / 1e6


if __name__ == "__main__":
    main()
