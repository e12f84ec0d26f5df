"""`poe prompt`: what `app.llm.prompts` does, and `diff`, which also asks the evals."""

import argparse
import sys
from collections.abc import Sequence
from difflib import unified_diff

from app.llm import prompts
from app.llm.prompts import PromptError, Prompts

from app.settings import load_settings
from evals.__main__ import DATASETS, end_with, load, names
from evals.engine.baseline import Baseline
from evals.engine.gate import judge
from evals.engine.models import name_and_version
from evals.engine.reports import on_one_line
from evals.engine.results import Result
from evals.engine.running import run
from evals.service import add_options, open_service


async def diff(options: argparse.Namespace) -> int:
    """Print how two versions of a prompt differ, and what that does to the evals that ask it."""
    found = Prompts.load(load_settings().llm.prompts)
    old, new = (found.get(*name_and_version(given)) for given in (options.old, options.new))
    if old.name != new.name:
        raise PromptError(f"{old} and {new} are versions of two prompts: compare those of one")
    bodies = old.body.splitlines(), new.body.splitlines()
    print("\n".join(unified_diff(*bodies, fromfile=str(old), tofile=str(new), lineterm="", n=2)))
    before = {result.name: result for result in await _results(options, old.name, old.version)}
    after = await _results(options, new.name, new.version)
    for result in after:
        _compare(before[result.name], result)
    if not after:
        print(f"\nNo eval asks the prompt {new.name}: there are no cases to compare.")
    return 0


async def _results(options: argparse.Namespace, name: str, version: str) -> list[Result]:
    """Run each eval that asks the prompt, under one version of it."""
    chosen = argparse.Namespace(**vars(options))
    chosen.prompt = [*options.prompt, f"{name}@{version}"]
    results = []
    async with open_service(chosen) as service:
        for each in names():
            found = load(each)
            _, asked = found.asked(service.resources)
            if f"{name}/{version}" in asked:
                results.append(await run(each, found, service, DATASETS, repeat=options.repeat))
    return results


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
