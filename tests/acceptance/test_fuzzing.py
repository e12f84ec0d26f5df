"""schemathesis on running services: 500 examples an operation, every check, every phase.

Nothing is left out but what stands in EXCLUDED, with its reason.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from acceptance.services import KEY, running, service_with
from answers import label
from conftest import Install
from projects import run

pytestmark = pytest.mark.slow

EXAMPLES = 500
# Provider, or None for the minimal service -> options that leave something out.
EXCLUDED: dict[str | None, list[str]] = {None: [], "openai": []}


@pytest.mark.parametrize(
    "provider",
    [
        pytest.param(provider, marks=pytest.mark.xdist_group(label(service_with(provider))))
        for provider in EXCLUDED
    ],
    ids=["minimal", "llm"],
)
def test_a_service_does_what_its_schema_says(
    provider: str | None, install: Install, tmp_path: Path
) -> None:
    project = install(service_with(provider))
    with running(project, tmp_path / "log", LOG__LEVEL="WARNING") as service:
        run(
            Path(sys.executable).with_name("st"),
            "run",
            f"{service.address}/openapi.json",
            f"--header=Authorization: Bearer {KEY}",
            f"--max-examples={EXAMPLES}",
            "--checks=all",
            "--mode=all",
            "--continue-on-failure",
            "--no-color",
            *EXCLUDED[provider],
            cwd=tmp_path,
        )
    assert (tmp_path / "log").read_text() == ""
