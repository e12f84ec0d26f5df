"""A thousand files, and a machine that goes down again and again."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from acceptance.services import service_with
from answers import label
from conftest import Install
from projects import python

FILES = 1_000
KILLS = 3

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group(label(service_with("openai")))]


def test_a_thousand_files_survive_three_kills(install: Install, tmp_path: Path) -> None:
    names = [f"{number}.txt" for number in range(FILES)]
    for number, name in enumerate(names):
        (tmp_path / name).write_text(f"I was charged {number} EUR twice.")
    out = tmp_path / "results.jsonl"
    project = install(service_with("openai"))
    command = [str(python(project)), "-m", "app.llm.batch", "classify", *names, "--out", out.name]
    environment = {"PATH": os.environ["PATH"]}

    def lines() -> int:
        return out.read_bytes().count(b"\n") if out.exists() else 0

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE)

    for kill in range(1, KILLS + 1):
        with start() as process:
            while lines() < kill * FILES // (KILLS + 1) and process.poll() is None:
                pass
            process.kill()
        assert process.returncode == -9
        assert lines() < FILES
    with start() as process:
        _, said = process.communicate()
    assert process.returncode == 0, said.decode()
    assert f"{FILES} ok" in said.decode()
    results = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert sorted(result["file"] for result in results) == sorted(names)
    assert len({result["id"] for result in results}) == FILES
    assert {result["label"] for result in results} == {"billing"}
