"""The recordings that are committed: of one model, and of all that is asked and nothing else."""

from pathlib import Path
from typing import Final

from evals.engine.recorder import Answers
from evals.engine.running import Unanswered

FOLDER: Final = Path(__file__).parents[1] / "recordings"


def model(folder: Path = FOLDER) -> str:
    """Return the name of the model that was recorded."""
    try:
        return _note(folder).read_text("utf-8").strip()
    except FileNotFoundError:
        raise Unanswered(
            "There are no recordings yet: `poe eval --record --model …` makes them."
        ) from None


def refuse_another_model(name: str, folder: Path = FOLDER) -> None:
    """Raise `Unanswered` where some evals would be of another model than the others."""
    if _note(folder).exists() and name != (recorded := model(folder)):
        raise Unanswered(
            f"The recordings are of {recorded}: record some evals with it, or leave out their"
            f" names to record all with {name}."
        )


def finish(name: str, answers: Answers, *, some: bool) -> None:
    """Note which model was recorded; where not only `some` evals were, nothing else stays."""
    answers.folder.mkdir(parents=True, exist_ok=True)
    if not some:
        answers.delete_what_was_not_asked()
    _note(answers.folder).write_text(f"{name}\n", "utf-8")


def _note(folder: Path) -> Path:
    return folder / "model"
