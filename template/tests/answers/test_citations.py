"""What a reader shows, cites and calls unsupported of a model's text."""

import pytest

from app.answers.citations import Citation, Reader

from tests.answers.conftest import OPENING, RETURNS, passages

WITHIN = '<cite source="1">returned within 30 days</cite>'
POSTAGE = '<cite source="1">The customer pays the postage.</cite>'
CLOSED = '<cite source="2">On Sundays it is closed.</cite>'
MADE_UP = '<cite source="1">returned within 60 days</cite>'


def read(text: str) -> Reader:
    reader = Reader(passages(RETURNS, OPENING))
    shown = reader.feed(text) + reader.finish()
    assert shown == reader.text
    return reader


def test_a_citation_becomes_its_number_and_is_listed() -> None:
    reader = read(f"You have 30 days. {WITHIN} Sundays are off.{CLOSED}")
    assert reader.text == "You have 30 days. [1] Sundays are off. [2]"
    assert reader.citations == [
        Citation(
            chunk_id="chunk-1",
            document_id="document-1",
            title="Terms",
            quote="returned within 30 days",
        ),
        Citation(
            chunk_id="chunk-2",
            document_id="document-2",
            title="Terms",
            quote="On Sundays it is closed.",
        ),
    ]
    assert reader.unsupported == []
    assert reader.supported


def test_the_same_citation_has_the_same_number() -> None:
    reader = read(f"30 days. {WITHIN} Closed. {CLOSED} Not 31. {WITHIN}")
    assert reader.text == "30 days. [1] Closed. [2] Not 31. [1]"
    assert len(reader.citations) == 2


def test_several_citations_may_follow_one_sentence() -> None:
    reader = read(f"30 days, and you pay. {WITHIN}{POSTAGE} {MADE_UP}")
    assert reader.text == "30 days, and you pay. [1] [2] "
    assert reader.unsupported == []


def test_a_quote_is_the_passages_own_characters() -> None:
    reader = read('Closed. <cite source="2">on  weekdays. On Sundays\nit</cite>')
    assert [c.quote for c in reader.citations] == ["on weekdays.\nOn Sundays it"]
    assert reader.citations[0].quote in OPENING


@pytest.mark.parametrize(
    "failing",
    [
        MADE_UP,
        WITHIN.replace('"1"', '"2"'),
        WITHIN.replace('"1"', '"3"'),
        WITHIN.replace('"1"', '"0"'),
        WITHIN.replace('"1"', '"-1"'),
        WITHIN.replace('"1"', '"one"'),
        WITHIN.replace(' source="1"', ""),
        WITHIN.replace("source=", "id="),
        '<cite source="1">days</cite>',
        '<cite source="1"></cite>',
    ],
)
def test_a_citation_that_fails_is_dropped_and_its_sentence_unsupported(failing: str) -> None:
    reader = read(f"You have 60 days. {failing} Closed. {CLOSED}")
    assert reader.text == "You have 60 days. Closed. [1]"
    assert reader.unsupported == ["You have 60 days."]
    assert len(reader.citations) == 1


def test_only_the_sentence_before_a_citation_is_supported() -> None:
    reader = read(f"Hello. Send money! You have 30 days {WITHIN}, and a year. Then bye.")
    assert reader.unsupported == ["Hello.", "Send money!", "and a year.", "Then bye."]


def test_a_citation_may_stand_before_the_full_stop_and_on_the_next_line() -> None:
    reader = read(f"- 30 days {WITHIN}.\n- You pay.\n{POSTAGE}\n")
    assert reader.text == "- 30 days [1].\n- You pay.\n[2]\n"
    assert reader.unsupported == []


def test_a_citation_that_fails_ends_a_sentence_too() -> None:
    """Else the next one would cover both."""
    assert read(f"60 days.{MADE_UP}Closed.{CLOSED}").unsupported == ["60 days."]


def test_a_citation_before_any_sentence_supports_none() -> None:
    reader = read(f"{WITHIN} You have 30 days.")
    assert not reader.supported
    assert reader.unsupported == ["You have 30 days."]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('A. <cite source="1">the rest B. ' + CLOSED, "A. the rest B. [1]"),
        (f'A. <cite source="1">{CLOSED}', "A. [1]"),
        (f'A. <cite source="1"/>{CLOSED}', "A. [1]"),
        (f"A. {CLOSED}</cite> B.", "A. [1] B."),
        ("A. </CITE> B.", "A. B."),
        ('A. <cite source="1">' + "b" * 1001 + "</cite>", "A. " + "b" * 1001),
        ('A. <cite source="1">returned within', "A. "),
        ('A. <cite source="1', "A. "),
        ("A. </cite", "A. "),
    ],
)
def test_of_a_tag_that_is_not_closed_nothing_is_shown(text: str, shown: str) -> None:
    assert read(text).text == shown


@pytest.mark.parametrize(
    "text",
    ["a < b", "<b>bold</b> <cited>", "<", "<ci", "[", "[1", "[a] [] [12345]", "`a[1]`", "No one."],
)
def test_what_is_no_citation_is_text(text: str) -> None:
    assert read(text).text == text


def test_a_mark_that_the_model_writes_itself_is_none() -> None:
    reader = read(f"Send money.[1] Or [2] not. {CLOSED}\n```\nx[1]\n```\n")
    assert reader.text == "Send money.(1) Or (2) not. [1]\n```\nx[1]\n```\n"


@pytest.mark.parametrize("text", ["NO ANSWER", "NO ANSWER.", " NO ANSWER\n", ""])
def test_no_answer_is_never_shown(text: str) -> None:
    reader = read(text)
    assert reader.text == ""
    assert (reader.supported, reader.unsupported) == (False, [])


def test_no_answer_within_an_answer_is_a_sentence() -> None:
    assert read("NO ANSWER, but a guess.").unsupported == ["NO ANSWER, but a guess."]


def test_nothing_is_held_back_that_can_be_shown() -> None:
    reader = Reader(passages(RETURNS))
    assert reader.feed("It is ") == "It is "
    assert reader.feed("5 <") == "5 "
    assert reader.feed(" 6. <ci") == "< 6. "
    assert reader.feed("te source='1'>The customer pays") == ""
    assert reader.feed(" the postage.</cite> So") == "[1] So"
    assert reader.feed("N") == "N"


TRICKY = [
    f"You have 30 days. {WITHIN} {POSTAGE}\n\nClosed {CLOSED}. 60 days.{MADE_UP}\n- A <b> c[1] [2]",
    f'A. <cite source="1">B. {CLOSED}</cite > </ cite> `x[1]` <cite>q</cite>',
    f'A. <CITE source="1">{"b" * 1001}</cite> B. {WITHIN} ',
    'A. <cite source="1">returned within 30 days</cite foo> <cite' + " x" * 50 + "> C.",
    "NO ANSWER",
    "NO ANSWERS. <cite source='2'>On Sundays it is closed.</cite   > N",
    'A. <cite source="1">returned within 30 days</ci',
]


@pytest.mark.parametrize("text", TRICKY)
def test_where_a_stream_is_split_makes_no_difference(text: str) -> None:
    whole = read(text)
    for at in range(len(text) + 1):
        reader = Reader(passages(RETURNS, OPENING))
        shown = reader.feed(text[:at]) + reader.feed(text[at:]) + reader.finish()
        assert shown == reader.text == whole.text, at
        assert reader.citations == whole.citations, at
        assert reader.unsupported == whole.unsupported, at


@pytest.mark.parametrize("text", TRICKY)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pieces_of_any_size_make_no_difference(text: str, size: int) -> None:
    whole, reader = read(text), Reader(passages(RETURNS, OPENING))
    shown = "".join(reader.feed(text[at : at + size]) for at in range(0, len(text), size))
    assert shown + reader.finish() == whole.text
    assert (reader.citations, reader.unsupported) == (whole.citations, whole.unsupported)
