from dataclasses import replace
from io import StringIO
from typing import Any

from rich.console import Console

from evals.engine.reports import Reported, table
from tests.evals.engine.reports import (
    FAILED,
    HEADER,
    HOSTILE,
    INCONCLUSIVE,
    PASSED,
    PLAIN,
    module,
    outcome,
    run,
)


def shown(*reports: Reported, width: int = 200, **options: Any) -> str:
    file = StringIO()
    console = Console(file=file, width=width, **options)
    table.show(reports, console, replace(HEADER, spent_usd=0.5))
    return file.getvalue()


def test_a_module_is_a_row() -> None:
    rows = [line.split("  ") for line in shown(FAILED, PASSED).splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells[0][:4] == ["module", "verdict", "passed", "rate (95 % interval)"]
    changed = "1 newly failing, 1 newly passing"
    assert cells[1] == ["extract", "✗ failed", "2/4", "50 % (15 to 85 %)", changed, "none"]
    assert cells[2] == ["chat", "✓ passed", "2/2", "100 % (34.2 to 100 %)", "none"]


def test_cases_that_flipped_and_findings_stand_below() -> None:
    lines = shown(FAILED, PASSED).splitlines()
    assert lines[3:5] == [
        "✗ extract: broken is newly failing",
        "✓ extract: mended is newly passing",
    ]
    assert lines[5] == f"✗ extract: {FAILED.ruling.findings[0].text}"
    assert any(line.startswith("· chat: There is no baseline") for line in lines)


def test_the_verdict_comes_last() -> None:
    lines = shown(INCONCLUSIVE, PASSED).splitlines()
    assert lines[-2] == "openai:small · 2026-11-25 21:40 UTC · spent 0.5000 USD"
    assert lines[-1] == "? Evals are inconclusive. Inconclusive: classify. Passed: chat."


def test_a_narrow_terminal_is_kept_to() -> None:
    lines = shown(FAILED, INCONCLUSIVE, PASSED, width=60).splitlines()
    assert max(map(len, lines)) <= 60
    assert "inconclusive" in "".join(lines[:12])


def test_there_is_colour_only_in_a_terminal() -> None:
    assert "\x1b" not in shown(FAILED)
    coloured = shown(FAILED, force_terminal=True, color_system="standard", no_color=False)
    assert "\x1b[31m✗" in coloured


def test_hostile_text_is_neither_markup_nor_obeyed() -> None:
    wrong = outcome(HOSTILE, runs=(run(passes=False, reason=HOSTILE),), must_pass=True)
    text = shown(module(wrong, before=[HOSTILE], name=HOSTILE), width=5_000)
    assert not set("\x1b\x07\x9b") & set(text)
    assert text.count(" ".join(PLAIN.split())) >= 5
