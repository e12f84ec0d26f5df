"""`poe eval`: all questions, as a person or a pipeline asks them."""

import json
from html import unescape
from pathlib import Path

import pytest

from evals.__main__ import DATASETS, load, main, names


@pytest.mark.parametrize("name", names())
def test_a_dataset_can_be_used_and_what_editors_know_of_it_is_so(name: str) -> None:
    found = load(name)
    assert found.load(DATASETS / f"{name}.yaml").cases
    schema = DATASETS / f"{name}_schema.json"
    if schema.exists():
        assert schema.read_text("utf-8") == found.schema(), "run `uv run poe eval --schemas`"


def test_without_a_key_no_eval_fails_the_gate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*("--json", "v.json", "--junit", "j.xml", "--markdown", "s.md")])
    said = capsys.readouterr()
    assert ended.value.code == 0, said.out + said.err
    verdict = json.loads((tmp_path / "v.json").read_text())
    assert verdict["verdict"] != "fail"
    assert [module["name"] for module in verdict["modules"]] == names()
    assert {*("cases", "passed", "rate", "low", "high")} <= verdict["modules"][0].keys()
    for name in names():
        assert name in said.out
        assert f'name="evals.{name}"' in (tmp_path / "j.xml").read_text()
        assert name in unescape((tmp_path / "s.md").read_text())
        assert name in (tmp_path / ".evals/report.html").read_text()


@pytest.mark.parametrize("times", ["0", "-1", "1.5", "often"])
def test_a_case_is_run_once_at_least(times: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([f"--repeat={times}"])
    assert ended.value.code == 2
    assert f"a case is run once at least, not {times} times" in capsys.readouterr().err


def test_an_eval_that_is_not_there_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["nothing"])
    assert ended.value.code == 2
    known = ", ".join(names())
    assert capsys.readouterr().err == f"There is no eval 'nothing': there are {known}.\n"
