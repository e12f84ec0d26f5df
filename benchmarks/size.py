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

from harness import LLM, MINIMAL, install, print_table, render, verdict

TARGETS = {"minimal": (30, 600), "llm": (50, 1_300)}
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
    with tempfile.TemporaryDirectory() as folder:
        for name, answers in {"minimal": MINIMAL, "llm": LLM}.items():
            project = render(Path(folder, name), answers)
            libraries = install(project).parents[1]
            packages = len(list(libraries.rglob("*.dist-info"))) - 1
            lines = sum(len(code_lines(path.read_text())) for path in project.rglob("src/**/*.py"))
            most_packages, most_lines = TARGETS[name]
            rows += [
                [
                    name,
                    "packages",
                    str(packages),
                    f"≤ {most_packages}",
                    verdict(packages, most_packages),
                ],
                [name, "MB installed", f"{megabytes(libraries):.0f}", "", ""],
                [
                    name,
                    "lines of code in src/",
                    f"{lines:,}",
                    f"≤ {most_lines:,}",
                    verdict(lines, most_lines),
                ],
            ]
    print_table(["service", "", "measured", "target", ""], rows)


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
