"""Hand Cookiecutter's answers to Copier, which renders template/.

Cookiecutter itself writes only `.cookiecutter-answers.json`. So both tools build a project from
one tree, to the same bytes, and `copier update` works on either's project.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HANDOVER = Path(".cookiecutter-answers.json")


def main() -> None:
    """Render the project in the current folder, or say in one last line why not."""
    context = json.loads(HANDOVER.read_text(encoding="utf-8"))
    HANDOVER.unlink()
    try:
        from copier import run_copy
        from copier.errors import CopierError
    except ModuleNotFoundError:
        sys.exit(
            "This template needs Copier beside Cookiecutter: "
            "uvx --with copier cookiecutter (or: pip install copier)."
        )
    source, commit = find_template(context)
    answers = {name: value for name, value in context.items() if not name.startswith("_")}
    try:
        run_copy(source, Path.cwd(), data=answers, vcs_ref=commit, defaults=True, overwrite=True)
    except (CopierError, ValueError) as error:
        sys.exit(str(error).strip())


def find_template(context: dict[str, Any]) -> tuple[str, str | None]:
    """Return where `copier update` will find the template again, and the commit to render."""
    repo = find_repo(context["_repo_dir"], context["_output_dir"])
    template = os.path.expanduser(context["_template"])
    if Path(working_folder(), template).exists():
        return str(repo), "HEAD"  # a local checkout, with its uncommitted changes
    commit = git(repo, "rev-parse", "HEAD")
    if template.startswith(("gh:", "gl:")):  # Copier knows these short forms too
        return template, commit
    if origin := git(repo, "remote", "get-url", "origin"):
        return origin, commit
    print("Built from an archive: `copier update` will not work.", file=sys.stderr)
    return str(repo), None


def find_repo(repo_dir: str, output_dir: str) -> Path:
    """Make Cookiecutter's `_repo_dir` absolute: a relative one is meant from where it was run."""
    for base in (working_folder(), output_dir):
        if Path(base, repo_dir, "copier.yml").is_file():
            return Path(base, repo_dir).resolve()
    sys.exit(f"Cannot find the template at {repo_dir!r}: give Cookiecutter its absolute path.")


def working_folder() -> str:
    """Return where Cookiecutter was run: it has changed folders since, its shell has not."""
    return os.environ.get("PWD", ".")


def git(repo: Path, *arguments: str) -> str | None:
    """Return git's answer about `repo`, or None where there is none."""
    try:
        ran = subprocess.run(
            ["git", "-C", str(repo), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return ran.stdout.strip()


if __name__ == "__main__":
    main()
