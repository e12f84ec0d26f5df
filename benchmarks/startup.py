"""How fast a service starts: until the first 200 of `/health/ready`, beside a bare import.

The import is what any service on the same libraries has to wait for, in the same environment. Both
are whole processes, in turn, with compiled modules and a warm disk; medians.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from harness import LLM, MINIMAL, bare, free_port, install, print_table, render, running, verdict

ROUNDS = 9
CASES = {
    "minimal": (MINIMAL, "import fastapi", None),
    "llm, offline": (LLM, "import fastapi, pydantic_ai.models.openai", 1.0),
}


def main() -> None:
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (answers, statement, most) in CASES.items():
            project = render(Path(folder, name), answers)
            python = install(project)
            boots, imports = in_turn(
                partial(boot, python, project), partial(run, python, statement)
            )
            ratio = boots / imports
            target, judged = ("", "") if most is None else (f"≤ {most}", verdict(ratio, most))
            row = [name, f"{boots:.2f} s", f"`{statement}`", f"{imports:.2f} s", f"{ratio:.2f}"]
            rows.append([*row, target, judged])
    print_table(["service", "until ready", "beside", "", "ratio", "target", ""], rows)


def in_turn(first: Callable[[], float], second: Callable[[], float]) -> tuple[float, float]:
    """Return the medians of both after a round that only warms up."""
    pairs = [(first(), second()) for _ in range(ROUNDS + 1)][1:]
    return median(a for a, _ in pairs), median(b for _, b in pairs)


def boot(python: Path, project: Path) -> float:
    port = free_port()
    settings = {"SERVER__PORT": str(port), "SERVER__READY_DELAY_SECONDS": "0"}
    started = time.perf_counter()
    with running([python, "-m", "app", "serve"], port, project, **settings):
        return time.perf_counter() - started


def run(python: Path, statement: str) -> float:
    started = time.perf_counter()
    subprocess.run([python, "-c", statement], env=bare(), check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
