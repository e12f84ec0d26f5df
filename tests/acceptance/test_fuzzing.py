"""schemathesis on running services: 500 examples an operation, every check, every phase.

Always the same ones: what another seed may find shall not fail a change that has nothing to do with
it. Give another one by hand, `SEED=2 pytest --all tests/acceptance/test_fuzzing.py`.

No check and no operation is left out. What one check may not expect stands in CONFIGURATION, with
the reason.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from acceptance.services import KEY, running, service_with
from answers import label
from conftest import Install
from projects import run

pytestmark = pytest.mark.slow

EXAMPLES = 500
SEED = os.environ.get("SEED", "1")
CONFIGURATION = """
# A conversation can fit its schema and still ask for what no schema can refuse: the result of a
# tool that nobody called, a required tool where there is none, more tokens than the owner allows,
# a model that is not there. These are 400s, and a 404, on purpose.
[[operations]]
include-name = "POST /v1/chat/completions"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404]

# Nor can a schema say which models there are.
[[operations]]
include-name = ["POST /v1/extract", "POST /v1/classify"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 404]

# Or which responses a caller got.
[[operations]]
include-name = "POST /v1/feedback"
checks.positive_data_acceptance.expected-statuses = ["2xx", 404]

# Or that a time comes before another.
[[operations]]
include-name = "GET /v1/usage"
checks.positive_data_acceptance.expected-statuses = ["2xx", 422]
"""


@pytest.mark.parametrize(
    "provider",
    [
        pytest.param(provider, marks=pytest.mark.xdist_group(label(service_with(provider))))
        for provider in (None, "openai")
    ],
    ids=["minimal", "llm"],
)
def test_a_service_does_what_its_schema_says(
    provider: str | None, install: Install, tmp_path: Path
) -> None:
    project = install(service_with(provider))
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    with running(project, tmp_path / "log", LOG__LEVEL="ERROR") as service:
        run(
            Path(sys.executable).with_name("st"),
            "run",
            f"{service.address}/openapi.json",
            f"--header=Authorization: Bearer {KEY}",
            f"--max-examples={EXAMPLES}",
            f"--seed={SEED}",
            "--checks=all",
            "--mode=all",
            "--continue-on-failure",
            "--no-color",
            cwd=tmp_path,
        )
    # Nor did anything fail behind an answer.
    assert (tmp_path / "log").read_text() == ""
