"""`poe prompt`: what `app.llm.prompts` does, and `diff`, which also asks the evals."""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from difflib import unified_diff

from app.llm import prompts
from app.llm.prompts import Prompt, PromptError, Prompts

from app.settings import load_settings
from evals.__main__ import DATASETS, end_with, load, names
from evals.engine.baseline import Baseline
from evals.engine.gate import judge
from evals.engine.models import name_and_version
from evals.engine.reports import on_one_line
from evals.engine.results import Result
from evals.engine.running import Prefer, Service, run
from evals.engine.statistics import sign_test
from evals.service import add_options, open_service


async def diff(options: argparse.Namespace) -> int:
    """Print how two versions of a prompt differ, and what that does to the evals that ask it."""
    found = Prompts.load(load_settings().llm.prompts)
    old, new = (found.get(*name_and_version(given)) for given in (options.old, options.new))
    if old.name != new.name:
        raise PromptError(f"{old} and {new} are versions of two prompts: compare those of one")
    bodies = old.body.splitlines(), new.body.splitlines()
    print("\n".join(unified_diff(*bodies, fromfile=str(old), tofile=str(new), lineterm="", n=2)))
    async with open_service(_with(options, old)) as service:
        before = {result.name: result for result in await _results(options, old, service)}
    async with open_service(_with(options, new)) as service:
        after = await _results(options, new, service)
        for result in after:
            _compare(before[result.name], result)
            rubric = load(result.name).rubric
            if service.prefer and rubric:
                print(f"  {await preferred(before[result.name], result, rubric, service.prefer)}")
    if not after:
        print(f"\nNo eval asks the prompt {new.name}: there are no cases to compare.")
    return 0


def _with(options: argparse.Namespace, prompt: Prompt) -> argparse.Namespace:
    """Return the options of a run of some evals, with this version of the prompt."""
    chosen = [*options.prompt, f"{prompt.name}@{prompt.version}"]
    return argparse.Namespace(**{**vars(options), "name": names(), "prompt": chosen})


async def _results(options: argparse.Namespace, prompt: Prompt, service: Service) -> list[Result]:
    """Run each eval that asks the prompt."""
    return [
        await run(name, load(name), service, DATASETS, repeat=options.repeat)
        for name in names()
        if str(prompt) in load(name).asked(service.resources)[1]
    ]


def _compare(old: Result, new: Result) -> None:
    ruling = judge(new, Baseline.of(old))
    rates = [sum(one.rate for one in result.outcomes) for result in (old, new)]
    total = len(new.outcomes)
    print(f"\n{new.name}: {rates[0]:g} of {total} cases pass, then {rates[1]:g}")
    passes = {outcome.case: outcome.passed for outcome in new.outcomes}
    for case in ruling.flipped:
        print(f"  {'passes' if passes[case] else 'fails'} now: {case}")
    for finding in ruling.findings:
        print(f"  {on_one_line(f'{finding.verdict}: {finding.text}')}")


async def preferred(old: Result, new: Result, rubric: str, prefer: Prefer) -> str:
    """Say how often a judge prefers which version, of the cases that are answered otherwise."""
    said = {outcome.case: outcome.runs[0].output for outcome in old.outcomes}
    asked = [
        prefer(outcome.question, said[outcome.case], outcome.runs[0].output, rubric)
        for outcome in new.outcomes
        if outcome.runs[0].output != said[outcome.case]
    ]
    better = Counter(await asyncio.gather(*asked))
    return (
        f"{len(asked)} cases are answered otherwise. The judge finds {better['a']} better with the"
        f" first version, {better['b']} with the second, and {better['tie']} with neither"
        f" (two-sided sign test: p = {sign_test(better['a'], better['b']):.2g})."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `diff`, or leave the rest to `app.llm.prompts`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] != ["diff"]:
        prompts.main(given)
        return
    parser = argparse.ArgumentParser(prog="poe prompt diff", description=diff.__doc__)
    parser.add_argument("old", metavar="NAME@VERSION")
    parser.add_argument("new", metavar="NAME@VERSION")
    add_options(parser)
    options = parser.parse_args(given[1:])
    end_with(parser, lambda: diff(options))


if __name__ == "__main__":
    main()
