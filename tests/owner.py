"""What an owner does to a generated project: own code, settings, dependencies and words."""

from __future__ import annotations

from pathlib import Path

from projects import commit, edit, run

ORDERS = '''\
"""Our own part of the service."""

from dataclasses import dataclass

from fastapi import APIRouter, Request

router = APIRouter()


@dataclass(frozen=True)
class Orders:
    currency: str

    async def check(self, *, thorough: bool = False) -> str:
        return f"sold in {self.currency}"


@router.get("/orders")
async def read_orders(request: Request) -> dict[str, str]:
    """Say in what currency we sell."""
    return {"currency": request.app.state.resources.orders.currency}
'''

TEST_ORDERS = """\
from app.orders import Orders


async def test_orders_say_their_currency() -> None:
    assert "EUR" in await Orders("EUR").check()
"""

# File, what stands there, and what the owner makes of it.
EDITS = [
    (
        "src/app/main.py",
        "\nfrom app.resources import ",
        "\nfrom app.orders import router as orders\nfrom app.resources import ",
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
        "\nfrom app.orders import Orders\nfrom app.settings import ",
    ),
    (
        "src/app/resources.py",
        "\n    # Your own resources below.\n",
        "\n    # Your own resources below.\n    orders: Orders\n",
    ),
    (
        "src/app/resources.py",
        "            # Your own resources below.\n",
        "            # Your own resources below.\n            orders=Orders(settings.currency),\n",
    ),
]
APPENDED = {
    "README.md": "\n## Orders\n\nWhat we sell.\n",
    ".env.example": "\n# The currency of our prices.\nCURRENCY=EUR\n",
}


def own(project: Path, *, with_uv: bool = False) -> None:
    """Edit the project and commit it; dependencies come by `uv add`, or as it would write them."""
    (project / "src/app/orders.py").write_text(ORDERS, "utf-8")
    (project / "tests/test_orders.py").write_text(TEST_ORDERS, "utf-8")
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
