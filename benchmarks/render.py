"""How long `copier copy` takes: the full project beside public templates of similar size.

Each template is cloned first, so that no network is measured, and then rendered in turn by a whole
`copier` process with its defaults; medians. Name where the public ones are on a machine that
cannot reach them: `uv run benchmarks/render.py --substrate ../substrate`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from harness import ROOT, print_table, verdict

ROUNDS = 5
MOST_SECONDS = 2.5


class Template(NamedTuple):
    source: str
    # For the questions that have no default.
    answers: dict[str, str]


PUBLIC = {
    "substrate": Template(
        "https://github.com/superlinear-ai/substrate",
        {
            "author_email": "ada@example.org",
            "author_name": "Ada",
            "project_description": "Answers questions.",
            "project_name": "My AI Service",
            "project_type": "app",
            "project_url": "https://github.com/ada/my-ai-service",
        },
    ),
    "fastapi-mvc": Template(
        "https://github.com/fastapi-mvc/copier-project",
        {
            "license": "MIT",
            "project_name": "my-ai-service",
            "repo_url": "https://github.com/ada/my-ai-service",
        },
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, template in PUBLIC.items():
        parser.add_argument(f"--{name}", default=template.source, help="a path or an address")
    sources = vars(parser.parse_args())
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        templates = {"this template, full": clone(str(ROOT), work / "ours", {})}
        for name, (address, answers) in PUBLIC.items():
            title = address.removeprefix("https://github.com/")
            templates[title] = clone(sources[name.replace("-", "_")], work / name, answers)
        rounds = [
            {
                title: render(template, work / f"{title.replace('/', '-')}-{number}")
                for title, template in templates.items()
            }
            for number in range(ROUNDS)
        ]
    report(rounds)


def report(rounds: list[dict[str, tuple[float, int]]]) -> None:
    """Print the medians; each round has, by template, the seconds and the number of files."""
    rows: list[list[str]] = []
    ours = median(round["this template, full"][0] for round in rounds)
    for title, (_, files) in rounds[0].items():
        seconds = median(round[title][0] for round in rounds)
        target = [f"≤ {MOST_SECONDS} s", verdict(seconds, MOST_SECONDS)] if not rows else ["", ""]
        each = f"{1000 * seconds / files:.0f}"
        rows.append([title, str(files), f"{seconds:.2f} s", each, f"{ours / seconds:.2f}", *target])
    print_table(["template", "files", "render", "ms a file", "ours / it", "target", ""], rows)


def clone(source: str, target: Path, answers: dict[str, str]) -> Template:
    subprocess.run(["git", "clone", "--quiet", source, target], check=True)
    return Template(str(target), answers)


def render(template: Template, target: Path) -> tuple[float, int]:
    """Return the seconds that a render took, and how many files it wrote."""
    data = [f"--data={name}={value}" for name, value in template.answers.items()]
    copier = Path(sys.executable).with_name("copier")
    command: list[str | Path] = [copier, "copy", "--quiet", "--defaults", "--vcs-ref=HEAD", *data]
    started = time.perf_counter()
    # Old templates make today's Copier warn.
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    subprocess.run([*command, template.source, target], env=quiet, check=True)
    seconds = time.perf_counter() - started
    return seconds, sum(path.is_file() for path in target.rglob("*"))


if __name__ == "__main__":
    main()
