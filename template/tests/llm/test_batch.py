"""Many files: each result once, whatever happens between."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL
from subprocess import PIPE, Popen

import pytest
from filelock import FileLock

from app.llm.batch import main

from tests.llm.samples import MESSAGE, UNREADABLE


@pytest.fixture
def texts(tmp_path: Path) -> list[str]:
    names = ["one.txt", "two.txt"]
    for name in names:
        (tmp_path / name).write_text(MESSAGE)
    return names


def run(task: str, files: Sequence[str], *options: str, out: str = "out.jsonl") -> int:
    with pytest.raises(SystemExit) as stop:
        main([task, *files, "--out", out, *options])
    return int(stop.value.code or 0)


def results(out: str = "out.jsonl") -> dict[str, str]:
    """Return the outcome by file; each file may be there once."""
    lines = [json.loads(line) for line in Path(out).read_text("utf-8").splitlines()]
    assert len({line["file"] for line in lines}) == len(lines)
    return {line["file"]: line["outcome"] for line in lines}


def test_each_file_has_a_line(texts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("classify", texts) == 0
    assert results() == {"one.txt": "ok", "two.txt": "ok"}
    [line, other] = map(json.loads, Path("out.jsonl").read_text().splitlines())
    assert line.keys() > {"file", "id", "label", "rationale", "usage"}
    tokens = 2 * line["usage"]["input_tokens"], 2 * other["usage"]["output_tokens"]
    said = "2 ok; {} tokens in, {} out; 0.0000 USD".format(*tokens)
    assert said in capsys.readouterr().err


def test_a_second_run_does_what_is_missing(
    texts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("classify", texts)
    before = Path("out.jsonl").read_text()
    (tmp_path / "more.txt").write_text(MESSAGE)
    assert run("classify", [*texts, str(tmp_path / "one.txt"), "more.txt"]) == 0
    assert Path("out.jsonl").read_text().startswith(before)
    assert results()["more.txt"] == "ok"
    assert "3 ok; 2 of them from before; " in capsys.readouterr().err


def test_a_bad_file_does_not_stop_the_others(
    texts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bytes.txt").write_bytes(b"\xff")
    (tmp_path / "empty.txt").write_text("\n")
    bad = ["bytes.txt", "empty.txt", "nowhere.txt", "."]
    assert run("classify", [*bad, *texts], "--concurrency", "1") == 1
    assert results().keys() == set(texts)
    said = capsys.readouterr().err
    assert all(f"{(tmp_path / name).resolve()}: " in said for name in bad)
    assert "the text, or the name, is no UTF-8" in said
    assert "there is no such file" in said
    assert "4 failed, 2 ok" in said


def test_an_outcome_that_is_not_ok_is_a_result_and_a_failure(tmp_path: Path) -> None:
    (tmp_path / "hello.txt").write_text(UNREADABLE)
    assert run("classify", ["hello.txt"]) == 1
    assert results() == {"hello.txt": "invalid"}
    assert run("classify", ["hello.txt"]) == 1


def test_what_was_not_ok_is_done_again_on_request(texts: list[str], tmp_path: Path) -> None:
    for name in ("hello.txt", "other.txt"):
        (tmp_path / name).write_text(UNREADABLE)
    run("classify", ["hello.txt", "other.txt", *texts])
    (tmp_path / "hello.txt").write_text(MESSAGE)
    assert run("classify", ["hello.txt", *texts], "--again") == 0
    assert results() == dict.fromkeys(["hello.txt", *texts], "ok") | {"other.txt": "invalid"}


@pytest.mark.parametrize("rest", ['{"file": "two.txt", "id": "cl', '{"fi', ""])
def test_a_line_that_was_not_written_to_its_end_is_written_again(
    texts: list[str], rest: str
) -> None:
    run("classify", texts[:1])
    with Path("out.jsonl").open("a") as file:
        file.write(rest)
    assert run("classify", texts) == 0
    assert results() == {"one.txt": "ok", "two.txt": "ok"}


@pytest.mark.parametrize(
    "content",
    ["My notes", "My notes\n", '{"file": 1}\n', "[]\n", '{"file": "report.pdf"}', "{"],
)
def test_a_file_that_holds_something_else_is_left_alone(
    texts: list[str], content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("notes.txt").write_text(content)
    assert run("classify", texts, out="notes.txt") == 2
    assert Path("notes.txt").read_text() == content
    assert "choose another --out" in capsys.readouterr().err


def test_the_results_of_another_task_are_left_alone(
    texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run("extract", texts)
    before = Path("out.jsonl").read_text()
    assert run("classify", texts) == 2
    assert Path("out.jsonl").read_text() == before


def test_a_folder_that_there_is_not_is_not_made(texts: list[str]) -> None:
    assert run("classify", texts, out="nowhere/out.jsonl") == 2
    assert not Path("nowhere").exists()


def test_a_file_is_not_written_over(texts: list[str]) -> None:
    assert run("classify", texts, out="one.txt") == 2
    assert Path("one.txt").read_text() == MESSAGE


def test_a_line_whose_end_an_editor_took_is_kept(texts: list[str]) -> None:
    run("classify", texts[:1])
    before = Path("out.jsonl").read_text().strip()
    Path("out.jsonl").write_text(before)
    run("classify", texts)
    assert Path("out.jsonl").read_text().startswith(before + "\n")
    assert results() == {"one.txt": "ok", "two.txt": "ok"}


def test_a_file_that_changed_is_read_again(texts: list[str]) -> None:
    run("classify", texts)
    Path("one.txt").write_text(UNREADABLE)
    assert run("classify", texts) == 1
    assert results() == {"one.txt": "invalid", "two.txt": "ok"}


def test_files_of_one_name_are_told_apart_by_their_folders(
    texts: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run("classify", texts)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "one.txt").write_text(UNREADABLE)
    # poe runs in the root of the project, wherever it was called.
    monkeypatch.setenv("POE_PWD", str(tmp_path / "folder"))
    assert run("classify", ["one.txt", "../one.txt"], out="../out.jsonl") == 1
    assert results() == {"one.txt": "ok", "two.txt": "ok", "folder/one.txt": "invalid"}


def test_a_link_leads_to_the_results(texts: list[str]) -> None:
    Path("link.jsonl").symlink_to("out.jsonl")
    run("classify", texts[:1], out="link.jsonl")
    run("classify", texts, "--again", out="link.jsonl")
    assert Path("link.jsonl").is_symlink()
    assert results() == {"one.txt": "ok", "two.txt": "ok"}


def test_two_runs_do_not_write_to_one_file(
    texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with FileLock(".out.jsonl.lock"):
        assert run("classify", texts) == 2
    assert "another run" in capsys.readouterr().err
    assert not Path("out.jsonl").exists()


def test_a_run_that_is_killed_is_taken_up_by_the_next(tmp_path: Path) -> None:
    names = [f"{number}.txt" for number in range(300)]
    for name in names:
        (tmp_path / name).write_text(MESSAGE)
    command = [sys.executable, "-m", "app.llm.batch", "classify", *names, "--out", "out.jsonl"]
    for _ in range(2):
        before = _size("out.jsonl")
        with Popen(command, stderr=PIPE) as process:  # noqa: S603 - the command is its own
            while _size("out.jsonl") <= before and process.poll() is None:
                pass
            process.kill()
        assert process.returncode == -SIGKILL
    assert run("classify", names) == 0
    assert results().keys() == set(names)


def _size(path: str) -> int:
    return Path(path).stat().st_size if Path(path).exists() else 0


def test_a_setting_that_is_wrong_is_named(
    texts: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLM__ATTEMPTS", "0")
    assert run("classify", texts) == 2
    assert "LLM__ATTEMPTS" in capsys.readouterr().err
