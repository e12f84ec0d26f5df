import pytest

from app.answers.sentences import sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        (
            "It costs 3.5 euros, e.g. here. Or 1,000.",
            ["It costs 3.5 euros, e.g. here.", "Or 1,000."],
        ),
        ("Dr. J. Smith of the U.S. Army came.", ["Dr. J. Smith of the U.S. Army came."]),
        ("Apples, pears etc. are fruit. Etc.", ["Apples, pears etc. are fruit.", "Etc."]),
        ("See app.main.py. It runs.", ["See app.main.py.", "It runs."]),
        (
            'He said "Go." Then (at last.) He went.',
            ['He said "Go."', "Then (at last.)", "He went."],
        ),
        ("- One\n* Two.\n  3. Three. Four", ["One", "Two.", "Three.", "Four"]),
        ("## A title\nA line\n\n> Quoted", ["A title", "A line", "Quoted"]),
        (
            "So:\n```py\na = 1. + 2\n\nb()\n```\nDone.",
            ["So:", "```py\na = 1. + 2\n\nb()\n```", "Done."],
        ),
        ("```\nNo code. At all", ["No code.", "At all"]),
        ("|---|---|\n\n ... \n**", []),
        ("一つ。二つ。", ["一つ。", "二つ。"]),
        ("", []),
    ],
)
def test_a_text_is_split_into_its_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected
