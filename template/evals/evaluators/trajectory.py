"""Whether an agent did what was asked of it, the whole of it, and nothing else."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_evals.evaluators import EvaluationReason, Evaluator, EvaluatorContext

from evals.engine.eval import About
from evals.evaluators.text import says


class Task(BaseModel, extra="forbid"):
    """What an agent is to do, and whether a person approves what it asks for."""

    input: str
    approves: bool = False


class Call(BaseModel, extra="forbid"):
    """A tool that was called; or, of a case, one that is expected to be.

    Of a case `arguments` are those that matter, and `contains` has, by argument, words in it.
    """

    tool: str
    arguments: dict[str, Any] = {}
    contains: dict[str, list[str]] = {}
    # Whether a person was asked for it first.
    asks: bool = False

    def __str__(self) -> str:
        given = [f"{name}={value!r}" for name, value in self.arguments.items()]
        given += [f"{name} with {words!r}" for name, words in self.contains.items()]
        return f"{self.tool}({', '.join(given)})"

    def matches(self, call: "Call") -> bool:
        """Tell whether `call` is the one that is expected here."""
        given = call.arguments
        return (
            self.tool == call.tool
            and all(_same(given.get(name), value) for name, value in self.arguments.items())
            and all(
                says(str(given.get(name, "")), word)
                for name, words in self.contains.items()
                for word in words
            )
        )


class Done(BaseModel, extra="forbid"):
    """What a run did; or, of a case, what is expected of one.

    `calls` are in their order; of a case, those that there have to be. `allows` are calls that
    there may be beside them, and `never` is what the output does not say.
    """

    calls: list[Call] = []
    output: str = ""
    # Why it came to no end.
    error: str = ""
    in_order: bool = False
    allows: list[Call] = []
    says: list[str] = []
    never: list[str] = []


Context = EvaluatorContext[Task, Done, About]


def _expected(ctx: Context) -> Done:
    return ctx.expected_output or Done()


def _same(given: Any, expected: Any) -> bool:
    """Compare arguments, texts without their spaces: `12*12` is `12 * 12`."""
    if isinstance(given, str) and isinstance(expected, str):
        return "".join(given.casefold().split()) == "".join(expected.casefold().split())
    return bool(given == expected)


def _reason(wrong: Iterable[object], sentence: str) -> EvaluationReason:
    found = [str(one) for one in wrong]
    return EvaluationReason(not found, f"{sentence}: {', '.join(found)}")


@dataclass(repr=False)
class Completes(Evaluator[Task, Done, About]):
    """It comes to an end, within what a run may take."""

    def evaluate(self, ctx: Context) -> EvaluationReason:
        return EvaluationReason(not ctx.output.error, f"the run failed: {ctx.output.error}")


@dataclass(repr=False)
class Calls(Evaluator[Task, Done, About]):
    """It calls the tools that it should, with these arguments; in order, where that matters."""

    def evaluate(self, ctx: Context) -> EvaluationReason:
        expected, calls = _expected(ctx), ctx.output.calls
        made = ", ".join(map(str, calls)) or "no tool"
        missing = [str(one) for one in expected.calls if not any(map(one.matches, calls))]
        if missing:
            why = f"it does not call {', '.join(missing)}, but {made}"
            return EvaluationReason(False, why)
        # Each is looked for behind the one before it.
        left = iter(calls)
        follows = all(any(map(one.matches, left)) for one in expected.calls)
        return EvaluationReason(follows or not expected.in_order, f"in another order: {made}")


@dataclass(repr=False)
class NothingElse(Evaluator[Task, Done, About]):
    """It calls no tool beyond those that the case expects or allows, nor with other arguments."""

    def evaluate(self, ctx: Context) -> EvaluationReason:
        wanted = [*_expected(ctx).calls, *_expected(ctx).allows]
        beyond = (c for c in ctx.output.calls if not any(one.matches(c) for one in wanted))
        return _reason(beyond, "the case wants no call of")


@dataclass(repr=False)
class Asks(Evaluator[Task, Done, About]):
    """It asks a person before the calls that need that, and before no others."""

    def evaluate(self, ctx: Context) -> dict[str, EvaluationReason]:
        expected, calls = _expected(ctx), ctx.output.calls
        due = {one.tool for one in [*expected.calls, *expected.allows] if one.asks}
        unasked = (one for one in calls if one.tool in due and not one.asks)
        idle = (one for one in calls if one.asks and one.tool not in due)
        return {
            "Asks": _reason(unasked, "nobody was asked before"),
            "asks no more": _reason(idle, "a person was asked without need for"),
        }


@dataclass(repr=False)
class Says(Evaluator[Task, Done, About]):
    """Its output says what is expected, each of it, and nothing of what it should not."""

    def evaluate(self, ctx: Context) -> dict[str, EvaluationReason]:
        expected, output = _expected(ctx), ctx.output.output
        missing = (repr(words) for words in expected.says if not says(output, words))
        said = (repr(words) for words in expected.never if says(output, words))
        return {
            "Says": _reason(missing, "it does not say"),
            "keeps to itself": _reason(said, "it says"),
        }
