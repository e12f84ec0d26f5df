"""How well the deterministic screen tells grounded claims from others, on answers of a FAQ.

A claim is a sentence of an answer, the passage that answer; each is made wrong in four ways, or
left as it is, or changed as a model would that keeps to its source: without a remark, with "don't"
for "do not", or joined to the next sentence. A number or a name is swapped for any other of the
FAQ, so now and then for one that stands beside it. `--faq PATH`, or FAQ, names the questions. The
screen is that of the working tree, and runs without a generated project.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from harness import ROOT, print_table, verdict

FAQ = ROOT.parent / "shared/data/python-faq.jsonl"
# Of 108 and so on: what a first version of the screen had, and what this one has to reach.
FALSELY_FLAGGED = (9, 108)
CAUGHT = {
    "other document": (103, 104),
    "number": (14, 14),
    "name": (35, 38),
    "inserted not": (52, 52),
}
# Listings and prompts are no claims.
CODE = re.compile(r"[`=<>{}\[\]_|\\#*]|\w\(|\(\)|\s[(.:]\s")
NUMBER = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?![\w-]|\.\d)")
# Of these, names are what is never written small.
NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}(?:[A-Z]\w*)?\b")
AUXILIARY = re.compile(
    r"\b(?:is|are|was|were|can|will|would|should|must|may|could|has|have|does|do)\b"
    r"(?! not|n.t|.t\b)"
)
SHORTENED = {"do not": "don't", "does not": "doesn't", "is not": "isn't", "are not": "aren't"}
SHORTENED |= {"cannot": "can't", "it is": "it's", "will not": "won't", "that is": "that's"}


class Claim(NamedTuple):
    text: str
    passage: str
    # The sentence that follows it there.
    following: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faq", type=Path, default=os.environ.get("FAQ", FAQ))
    parser.add_argument("--seed", type=int, default=1, help="another choice of sentences")
    options = parser.parse_args()
    if not Path(options.faq).is_file():
        parser.error("name the questions with --faq: JSON lines with question and answer")
    sys.path[:0] = [str(ROOT / "template"), str(ROOT / "template/src")]
    screen = import_module("evals.evaluators.groundedness").screen
    split = import_module("app.answers.sentences").sentences
    lines = Path(options.faq).read_text("utf-8").splitlines()
    chance = random.Random(options.seed)  # noqa: S311 - to choose sentences, not secrets
    claims = list(prose([json.loads(line)["answer"] for line in lines], split))
    chance.shuffle(claims)
    report(perturbed(claims, chance), screen)


def prose(answers: Sequence[str], split: Callable[[str], list[str]]) -> Iterator[Claim]:
    """Yield the sentences of the answers that are no code, of 7 to 40 words."""
    for answer in answers:
        for sentence, following in pairwise([*split(answer), ""]):
            whole = sentence[:1].isupper() and sentence.endswith(".")
            if whole and 7 <= len(sentence.split()) <= 40 and not CODE.search(sentence):
                yield Claim(sentence, answer, following)


def perturbed(claims: list[Claim], chance: random.Random) -> dict[str, list[Claim]]:
    """Return the claims of each kind, in an order of chance."""
    words = {word for claim in claims for word in re.findall(r"\b[a-z]+", claim.passage)}
    numbers = sorted({number for claim in claims for number in NUMBER.findall(claim.text)})
    names = sorted(
        {name for claim in claims for name in NAME.findall(claim.text) if name.lower() not in words}
    )
    changed = [new for place, claim in enumerate(claims) if (new := change(claim, place))]
    return {
        "verbatim": claims,
        "lightly changed": changed,
        "other document": [
            claim._replace(passage=other.passage)
            for claim, other in pairwise(claims)
            if claim.passage != other.passage
        ],
        "number": swapped(claims, NUMBER, numbers, chance),
        "name": swapped(claims, NAME, names, chance),
        "inserted not": [
            claim._replace(text=AUXILIARY.sub(r"\g<0> not", claim.text, count=1))
            for claim in claims
            if AUXILIARY.search(claim.text)
        ],
    }


def swapped(
    claims: Sequence[Claim], what: re.Pattern[str], others: Sequence[str], chance: random.Random
) -> list[Claim]:
    """Put another number or name of the FAQ in the place of one, even one that the answer has."""
    found = []
    for claim in claims:
        if places := [place for place in what.finditer(claim.text) if place[0] in others]:
            place = chance.choice(places)
            other = chance.choice([other for other in others if other != place[0]])
            text = claim.text[: place.start()] + other + claim.text[place.end() :]
            found.append(claim._replace(text=text))
    return found


def change(claim: Claim, place: int) -> Claim | None:
    """Change a sentence and not what it says, in one of three ways, or in none."""
    ways = [without_clause, shortened, joined]
    for way in ways[place % 3 :] + ways[: place % 3]:
        if (text := way(claim)) and text != claim.text:
            return claim._replace(text=text)
    return None


def without_clause(claim: Claim) -> str:
    """Leave out a remark at the end, in brackets, or at the beginning."""
    shorter = re.sub(r", (?:which|such as|because|so|and|e\.g\.) [^,]*\.$", ".", claim.text)
    shorter = re.sub(r" \([^()]*\)", "", shorter)
    shorter = re.sub(r"^(?:However|For example|Also|Unfortunately|Usually|In fact), ", "", shorter)
    return shorter[:1].upper() + shorter[1:] if len(shorter.split()) >= 6 else ""


def shortened(claim: Claim) -> str:
    """Write "don't" for "do not", or the other way round."""
    text = claim.text.replace("\u2019", "'")
    for long, short in SHORTENED.items():
        if long in text:
            return text.replace(long, short)
        if short in text:
            return text.replace(short, long)
    return ""


def joined(claim: Claim) -> str:
    """Join it to the next sentence."""
    following = claim.following
    plain = re.match(r"(?:The|This|It|If|You|There|In|A|They|These|For) ", following)
    if not plain or CODE.search(following) or len(following.split()) > 30:
        return ""
    return f"{claim.text.removesuffix('.')}, and {following[:1].lower()}{following[1:]}"


def report(kinds: dict[str, list[Claim]], screen: Callable[[str, list[str]], Any]) -> None:
    """Print how many are flagged, of as many as the target is of, and of all that there are."""
    rows = []
    for kind, claims in kinds.items():
        flagged = [not screen(claim.text, [claim.passage]).grounded for claim in claims]
        counts = CAUGHT.get(kind, FALSELY_FLAGGED)
        first, target = flagged[: counts[1]], counts[0] / counts[1]
        rate = sum(first) / len(first)
        met = verdict(-rate, -target) if kind in CAUGHT else verdict(rate, target)
        sign = "≥" if kind in CAUGHT else "≤"
        cells = f"{sum(first)}/{len(first)}", f"{sum(flagged)}/{len(flagged)}"
        rows.append([kind, *cells, f"{sign} {counts[0]}/{counts[1]}", met])
    print_table(["claims", "flagged", "of all", "target", ""], rows)


if __name__ == "__main__":
    main()
