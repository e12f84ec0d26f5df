"""Prompts as files, and those of this service: each is locked, and has a snapshot in
`snapshots/<name>/<version>.md`: the inputs as TOML between two lines of `+++`, then what comes out.
"""

import tomllib
from pathlib import Path

import pytest
from jinja2.exceptions import SecurityError

from app.llm.prompts import Prompt, PromptError, Prompts, main

SNAPSHOTS = Path(__file__).parent / "snapshots"
GREETING = """+++
description = "Greets."
inputs = ["name"]
[parameters]
temperature = 0.2
+++
Hello {{ name }}!
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one prompt in two versions, 2 and 10."""
    (tmp_path / "greet").mkdir()
    write(tmp_path, GREETING, version=2)
    write(tmp_path, GREETING.replace("Hello", "Good day,"), version=10)
    return tmp_path


def write(folder: Path, text: str, *, version: int) -> None:
    (folder / "greet" / f"{version}.md").write_text(text)


@pytest.mark.parametrize("prompt", Prompts.load({}).versions.values(), ids=str)
def test_a_prompt_of_the_service_renders_as_in_its_snapshot(prompt: Prompt) -> None:
    snapshot = SNAPSHOTS / prompt.name / f"{prompt.version}.md"
    assert snapshot.exists(), f"{prompt} has no snapshot: write {snapshot}"
    _, inputs, text = snapshot.read_text("utf-8").split("+++\n", 2)
    assert prompt.render(**tomllib.loads(inputs)) == text.strip()


def test_all_prompts_of_the_service_are_locked() -> None:
    prompts = Prompts.load({}).versions.values()
    drafts = [str(p) for p in prompts if not p.locked]
    assert drafts == [], "`poe prompt lock` publishes them"


def test_the_highest_version_is_active_unless_a_setting_says_otherwise(folder: Path) -> None:
    assert Prompts.load({}, folder).get("greet").version == "10"
    assert Prompts.load({"greet": "2"}, folder).get("greet").version == "2"


def test_a_prompt_is_rendered_with_its_inputs_and_keeps_its_parameters(folder: Path) -> None:
    prompt = Prompts.load({}, folder).get("greet", "2")
    assert prompt.render(name="Ada") == "Hello Ada!"
    assert prompt.parameters == {"temperature": 0.2}


@pytest.mark.parametrize("inputs", [{}, {"name": "Ada", "title": "Dr"}, {"nmae": "Ada"}])
def test_a_missing_or_undeclared_input_is_an_error(folder: Path, inputs: dict[str, str]) -> None:
    with pytest.raises(PromptError, match="greet/10 takes the inputs"):
        Prompts.load({}, folder).get("greet").render(**inputs)


def test_a_template_cannot_reach_into_python(folder: Path) -> None:
    write(folder, GREETING.replace("{{ name }}", "{{ name.__class__.mro() }}"), version=10)
    with pytest.raises(SecurityError):
        Prompts.load({}, folder).get("greet").render(name="Ada")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{{ name }}", "{{ title }}", "declares the inputs"),
        ("{{ name }}", "you", "declares the inputs"),
        ("{{ name }}", "{{ name", "unexpected"),
        ("temperature", "temprature", "unknown parameters"),
        ("description", "about", r"description\n  Field required.*about\n  Extra"),
        ("+++", "---", "front matter"),
    ],
)
def test_a_prompt_that_cannot_work_is_refused_at_the_start(
    folder: Path, old: str, new: str, message: str
) -> None:
    write(folder, GREETING.replace(old, new), version=10)
    with pytest.raises(PromptError, match=f"(?s)greet/10: .*{message}"):
        Prompts.load({}, folder)


@pytest.mark.parametrize("version", ["1 copy", "02", "0", "draft", "\u0661"])
def test_a_file_whose_name_is_no_number_is_refused_by_its_name(folder: Path, version: str) -> None:
    (folder / "greet" / f"{version}.md").write_text(GREETING)
    with pytest.raises(PromptError, match=f"prompt greet/{version}: (?s:.*)version"):
        Prompts.load({}, folder)


def test_an_unknown_version_is_refused_with_those_there_are(folder: Path) -> None:
    message = "LLM__PROMPTS: there is no prompt greet/3, only greet/2, greet/10"
    with pytest.raises(PromptError, match=message):
        Prompts.load({"greet": "3"}, folder)
    with pytest.raises(PromptError, match="no prompt part/1"):
        Prompts.load({"part": "1"}, folder)


def test_a_published_version_cannot_change(folder: Path) -> None:
    main(["lock"], folder)
    write(folder, GREETING.replace("Hello", "Hi"), version=2)
    with pytest.raises(PromptError, match=r"greet/2: it changed .* write a new version"):
        Prompts.load({}, folder)


def test_parameters_are_part_of_what_was_published(folder: Path) -> None:
    main(["lock"], folder)
    write(folder, GREETING.replace("0.2", "0.3"), version=2)
    with pytest.raises(PromptError, match="greet/2: it changed"):
        Prompts.load({}, folder)


def test_a_new_version_is_a_draft_until_it_is_locked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["lock"], folder)
    write(folder, GREETING, version=11)
    draft = Prompts.load({}, folder).get("greet")
    assert (draft.version, draft.locked) == ("11", False)
    capsys.readouterr()
    main(["lock"], folder)
    waits = Path("tests/llm/snapshots/greet/11.md")
    assert capsys.readouterr().out == f"greet/11 is locked; a test waits for {waits}\n"
    prompts = Prompts.load({}, folder)
    assert all(prompt.locked for prompt in prompts.versions.values())
    assert prompts.get("greet", "2").digest == draft.digest


def test_list_shows_each_version(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"], folder)
    second, tenth = capsys.readouterr().out.splitlines()
    assert second.split()[:2] == ["greet/2", "draft"]
    assert tenth.split()[:3] == ["greet/10", "active", "draft"]
    assert tenth.endswith("Greets.")


def test_show_and_render_print_a_prompt(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["show", "greet"], folder)
    main(["render", "greet@2", "--input", "name=Ada = Eve"], folder)
    assert capsys.readouterr().out == "Good day, {{ name }}!\nHello Ada = Eve!\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["show", "part"], "there is no prompt part, only greet/2, greet/10\n"),
        (["render", "greet"], "takes the inputs ['name']"),
    ],
)
def test_a_command_that_fails_says_why(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(arguments, folder)
    assert reason in capsys.readouterr().err
