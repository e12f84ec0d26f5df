"""Every project, whatever was answered, is formatted, linted and tidy as rendered."""

from __future__ import annotations

import re

import pytest

from answers import VALID, Answers, label
from conftest import Render
from projects import run, tree

UNTIDY = rb"[ \t\r]\n|\n\n\n\n|^\n|\n\n\Z|[^\n]\Z"


@pytest.mark.parametrize("answers", VALID, ids=label)
def test_a_project_is_formatted_and_lints_as_rendered(answers: Answers, render: Render) -> None:
    project = render(answers)
    run("ruff", "format", "--check", "--no-cache", cwd=project)
    run("ruff", "check", "--no-cache", cwd=project)


@pytest.mark.parametrize("answers", VALID, ids=label)
def test_no_line_shows_where_a_capability_would_stand(answers: Answers, render: Render) -> None:
    # Python has two blank lines between definitions, also where a page shows it.
    code = re.compile(rb"(?ms)^```python$.*?^```$")
    untidy = {
        name: text
        for name, (_, text) in tree(render(answers)).items()
        # A template of the project's own is one.
        if re.search(UNTIDY if name.endswith(".j2") else UNTIDY + rb"|\{%|%\}", text)
        or (not name.endswith((".py", ".py.mako")) and b"\n\n\n" in code.sub(b"code", text))
    }
    assert sorted(untidy) == []
