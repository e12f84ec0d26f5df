"""What the screen flags, kind by kind, and that hostile text costs it no more than any other."""

import sys
from types import FrameType

import pytest

from evals.evaluators.groundedness import cited, claims, missing_citations, screen, unmarked

RETURNS = (
    "Goods can be returned within 30 days. The refund of 1,200 euros takes two weeks and is paid"
    " by Karla Boehm. Gift cards cannot be returned. `get_refund` is called by PayBot on Mondays,"
    " never on Sundays. Boxes may not be opened without a witness. A box costs $5."
)
OPENING = (
    "The shop in Lund opens at 9:30. It has been there since 2019-03-31,\n"
    "and closes at 17:00. The rate is 2.50 %. There is no parking for lorries. The lamp is not"
    " green but red."
)
GERMAN = (
    "Die Filiale in Kiel öffnet um 9 Uhr. Gutscheine werden nicht bar ausgezahlt. Die Frist für"
    " Rückgaben beträgt vierzehn Tage. Die Straße ist gesperrt."
)


@pytest.mark.parametrize(
    "claim",
    [
        # As it stands there, and in nearly the same words.
        "Goods can be returned within 30 days.",
        "You may return the goods within 30 days. [1]",
        "The shop has been in Lund since 2019-03-31, and closes at 17:00.",
        # Numbers in another form.
        "The refund of 1200 euros takes 2 weeks.",
        "The refund of 1.200 € takes two weeks.",
        "The rate is 2.5 percent.",
        "The shop in Lund opens at 9.30 a.m.",
        "The shop has closed at 5 pm since 31 March 2019.",
        "The shop has been there since 31.03.2019.",
        # Names, by their place or their form.
        "The refund is paid by Karla Boehm.",
        "Karla Boehm's refund takes two weeks.",
        "PayBot calls `get_refund` on Mondays.",
        # Negations in another form, and what only looks like one.
        "Gift cards can't be returned.",
        "Gift cards can\u2019t be returned.",
        "Gift cards can be returned by nobody.",
        "Parking for lorries is not offered.",
        "Unless 30 days are over, goods can be returned.",
        "Gift cards are excluded from returns.",
        "Goods can be returned in no more than 30 days.",
        # German.
        "Um 9:00 Uhr öffnet die Filiale in Kiel.",
        "Gutscheine werden nicht als Bargeld ausgezahlt.",
        "Keine Filiale zahlt Gutscheine bar aus.",
        "Die Rückgabe hat eine Frist von 14 Tagen.",
        "Die STRASSE ist gesperrt.",
    ],
)
def test_a_faithful_claim_is_grounded(claim: str) -> None:
    assert screen(claim, [RETURNS, OPENING, GERMAN]).flags == ()


@pytest.mark.parametrize(
    ("claim", "flag"),
    [
        # Another document.
        ("Bicycles are sold.", "only 0 % of its words stand together in a passage"),
        # Additions.
        (
            "The refund of 1200 euros takes two weeks, and Karla Boehm writes long warm letters.",
            "the passage says nothing of: writes long warm letters",
        ),
        # Numbers: of nowhere, of another fact, of another unit.
        ("Goods can be returned within 40 days.", "the number 40 is not in the passage"),
        ("The refund of 30 euros takes two weeks.", "the number 30 is not in the passage"),
        ("Goods can be returned within 30 weeks.", "the number 30 is there with another unit"),
        ("A box costs 5 euros.", "the number 5 is there with another unit"),
        ("The refund takes three weeks.", "the number three is not in the passage"),
        ("The shop in Lund opens at 9:30 p.m.", "the number 9:30 is not in the passage"),
        ("The rate is 25 %.", "the number 25 is not in the passage"),
        ("Since 31 April 2019 it closes at 17:00.", "the month April is not in the passage"),
        # Names.
        ("The refund is paid by Otto Boehm.", "the name Otto is not in the passage"),
        ("PayBot calls `refund` on Mondays.", "the name refund is not in the passage"),
        ("PayBot calls get_money on Mondays.", "the name get_money is not in the passage"),
        ("SlowBot calls `get_refund`.", "the name SlowBot is not in the passage"),
        ("Tuesdays are when PayBot calls it.", "the name Tuesdays is not in the passage"),
        ("Die Filiale in Bonn öffnet um 9 Uhr.", "the name Bonn is not in the passage"),
        ("Samstags öffnet die Filiale in Kiel.", "the name Samstags is not in the passage"),
        # Negations: put in, taken out, moved.
        (
            "Goods cannot be returned within 30 days.",
            "the claim denies what the passage says of 'returned'",
        ),
        ("Goods can't be returned.", "the claim denies more than the passage"),
        ("Gift cards can be returned.", "the passage denies what the claim says of 'returned'"),
        (
            "`get_refund` is called by PayBot on Sundays.",
            "the passage denies what the claim says of 'Sundays'",
        ),
        (
            "`get_refund` is called by PayBot on Sundays, never on Mondays.",
            "the claim denies what the passage says of 'Mondays'",
        ),
        ("The lamp is not red.", "the claim denies what the passage says of 'red'"),
        (
            "Boxes may be opened without a witness.",
            "the passage denies what the claim says of 'opened'",
        ),
        (
            "The refund takes two weeks without Karla Boehm.",
            "the claim denies what the passage says of 'Karla'",
        ),
        (
            "Gutscheine werden bar ausgezahlt.",
            "the passage denies what the claim says of 'bar'",
        ),
        (
            "Die Filiale in Kiel öffnet nicht um 9 Uhr.",
            "the claim denies what the passage says of '9'",
        ),
        # Citations.
        ("Goods can be returned within 30 days. [4]", "there is no source [4]"),
        ("Goods can be returned within 30 days. [1] [0]", "there is no source [0]"),
        (
            "Goods can be returned within 30 days. [2]",
            "only 0 % of its words stand together in a passage",
        ),
        # Nothing to look for.
        ("Yes, they can.", "it has no words to look for"),
    ],
)
def test_what_is_not_in_the_passages_is_flagged(claim: str, flag: str) -> None:
    screened = screen(claim, [RETURNS, OPENING, GERMAN])
    assert flag in screened.flags
    assert not screened.grounded


def test_support_is_the_share_of_words_and_rare_ones_have_more_of_it() -> None:
    passage = "Lamps are sold. Lamps are lent. Lamps are mended. Chairs are sold."
    assert screen("Lamps are mended.", [passage]).support == 1
    assert screen("Stars are painted.", [passage]).support == 0
    rare, frequent = screen("Chairs are painted.", [passage]), screen("Lamps painted.", [passage])
    assert 0 < frequent.support < rare.support < 0.5


def test_words_from_here_and_there_are_no_support() -> None:
    passages = ["Lamps are sold in spring.", "Chairs are mended.", "Tables are painted in Lund."]
    assert screen("Lamps are mended in Lund.", passages).support < 0.5
    apart = " It rains. It snows. ".join(passages)
    assert not screen("Lamps are mended in Lund.", [apart]).grounded


def test_a_fact_may_be_spread_over_neighbouring_sentences() -> None:
    passage = "The lamp is old. It hangs in Lund. It costs 30 euros."
    assert screen("The old lamp, which hangs in Lund, costs 30 euros.", [passage]).grounded


def test_lines_that_are_wrapped_are_one_sentence() -> None:
    passage = "Goods can\nbe returned\nwithin 30 days\nof delivery\nin their\nfirst packaging."
    assert screen(passage.replace("\n", " "), [passage]).support == 1


def test_a_claim_of_no_words_claims_nothing() -> None:
    for empty in ("", " \n", "---", "[1]"):
        assert screen(empty, [RETURNS]).grounded
    assert screen("[2]", [RETURNS]).flags == ("there is no source [2]",)


def test_without_passages_nothing_is_grounded() -> None:
    screened = screen("Goods can be returned.", [])
    assert (screened.support, screened.flags) == (0, ("there is no passage",))
    assert not screen("Goods can be returned.", [""]).grounded
    assert screen("", []).grounded


def test_marks_belong_to_the_sentence_before_them() -> None:
    answer = "It is open. [1][2] On Sundays it is closed.\n[2]\n- Code is `a[1]`."
    assert claims(answer) == [
        "It is open. [1][2]",
        "On Sundays it is closed. [2]",
        "Code is `a[1]`.",
    ]
    assert claims("[1] Begins with one.") == ["[1] Begins with one."]
    assert claims("") == []


def test_a_claim_is_read_against_what_it_cites() -> None:
    passages = ["one", "two", "three"]
    assert cited("It is. [2] [1] [2]", passages) == ["two", "one"]
    assert cited("It is.", passages) == cited("It is. [7]", passages) == passages
    assert cited("[1] It is. [2]", passages) == ["two"]
    assert missing_citations("It is. [0] [3] [4] `[5]` x[6]", passages) == [0, 4]
    assert unmarked("It is. [2] [1]") == "It is."


HOSTILE = [
    *("e", "\u0301", "1,", "not word ", "Name ", "`", "`a` ", "[1] "),
    *(".", '!"', "a. ", "\n a", "1. ", "2019-03-31 "),
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_it_ends_on_hostile_text(piece: str) -> None:
    """With time that grew by the square of the length, each of these would take minutes."""
    text = piece * (100_000 // len(piece))
    for claim in ("Goods are returned.", text):
        assert 0 <= screen(claim, [text]).support <= 1


def calls_of(claim: str, passage: str) -> int:
    """Return how many functions are called to screen `claim`."""
    count = 0

    def add(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(add)
    try:
        screen(claim, [passage])
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("piece", ["not {} ", "Name{} ", "{},5 days ", "{} is. ", "`x{}` [{}] "])
def test_twice_the_text_is_twice_the_work(piece: str) -> None:
    short, long = ("".join(piece.format(n, n) for n in range(size)) for size in (400, 800))
    assert calls_of(long, long) < 2.5 * calls_of(short, short)
