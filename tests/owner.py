"""What an owner does to a generated project: own code, settings, dependencies and words."""

from __future__ import annotations

from pathlib import Path

from projects import commit, edit, run

FILES = {
    "src/app/orders/__init__.py": '"""Our own part of the service."""\n',
    "src/app/orders/desk.py": '''\
"""Where orders are taken."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Desk:
    currency: str

    async def check(self, *, thorough: bool = False) -> str:
        return f"sells in {self.currency}"
''',
    "src/app/orders/routes.py": '''\
"""Orders over HTTP."""

from fastapi import APIRouter, Request

router = APIRouter()


@router.get("/orders")
async def read_orders(request: Request) -> dict[str, str]:
    """Say in what currency we sell."""
    return {"currency": request.app.state.resources.desk.currency}
''',
    "tests/orders/__init__.py": "",
    "tests/orders/test_desk.py": """\
import pytest

from app.orders.desk import Desk

pytestmark = pytest.mark.anyio


async def test_the_desk_says_its_currency() -> None:
    assert await Desk("EUR").check() == "sells in EUR"
""",
    # A version of their own of the template's prompt, published.
    "src/app/prompts/chat/2.md": """\
+++
description = "Opens every chat of our shop."
+++
You are the assistant of our shop.
""",
    "src/app/prompts/chat/2.lock": "23f0648ff7da\n",
    "tests/llm/snapshots/chat/2.md": "+++\n+++\nYou are the assistant of our shop.\n",
}
# File, what stands there, and what the owner makes of it.
EDITS = [
    (
        "src/app/main.py",
        "\nfrom app.resources import ",
        "\nfrom app.orders.routes import router as orders\nfrom app.resources import ",
    ),
    (
        "src/app/main.py",
        "    # Your own routers below.\n",
        "    # Your own routers below.\n    app.include_router(orders)\n",
    ),
    (
        "src/app/settings.py",
        "    # Your own settings below.\n",
        '    # Your own settings below.\n    currency: str = "EUR"\n',
    ),
    (
        "src/app/resources.py",
        "\nfrom app.settings import ",
        "\nfrom app.orders.desk import Desk\nfrom app.settings import ",
    ),
    (
        "src/app/resources.py",
        "\n    # Your own resources below.\n",
        "\n    # Your own resources below.\n    desk: Desk\n",
    ),
    (
        "src/app/resources.py",
        "            # Your own resources below.\n",
        "            # Your own resources below.\n            desk=Desk(settings.currency),\n",
    ),
]
APPENDED = {
    "README.md": "\n## Orders\n\nWhat we sell.\n",
    ".env.example": "\n# The currency of our prices.\nCURRENCY=EUR\n",
}


def own(project: Path, *, with_uv: bool = False) -> None:
    """Edit the project and commit it; dependencies come by `uv add`, or as it would write them."""
    for name, text in FILES.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, "utf-8")
    for name, before, after in EDITS:
        edit(project / name, before, after)
    for name, text in APPENDED.items():
        with (project / name).open("a", encoding="utf-8") as file:
            file.write(text)
    if with_uv:
        run("uv", "add", "--quiet", "humanize", "tabulate", cwd=project)
    else:
        anchor = "  # Your own dependencies below.\n"
        added = '  "humanize>=4.14",\n  "tabulate>=0.9",\n'
        edit(project / "pyproject.toml", anchor, anchor + added)
    commit(project, "ours")
