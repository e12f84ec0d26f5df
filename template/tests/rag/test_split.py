import pytest

from app.rag.split import Piece, estimated_tokens, split

PARAGRAPH = "The owl looks at the moon, and the moon looks at the owl. " * 8
GUIDE = f"""\
---
title: No heading
---
# Owls

## Food

Mice.

```sh
# no heading
```

### At night

{PARAGRAPH}

Places
------

{PARAGRAPH}

~~~
## no heading either
~~~

## Size ##

{PARAGRAPH}
"""
TEXTS = {
    "guide": GUIDE,
    "guides": GUIDE * 20,
    "plain": PARAGRAPH * 10,
    "lines": PARAGRAPH.replace(". ", ".\n") * 10,
    "one word": "x" * 20_000,
    "cjk": "東京の梟は月を見る。" * 3_000,
    "emoji": "👩‍👩‍👧‍👦🦉" * 500,
    "accents": "e\u0301\u0323" * 3_000,
    "spaces": f"\n\n  \u00a0 {PARAGRAPH} \t\n\n\n{PARAGRAPH}\u2003\n",
    "list": "".join(f"{'  ' * (n % 5)}- item {n}\n" for n in range(400)),
    "table": "| a | b |\n|---|---|\n" + "| one | two |\n" * 300,
    "code": "```python\n" + "    # a comment\n    x = 1\n\n" * 200 + "```\n",
    "open fence": "```\n# no heading\n" * 100,
    "quotes": "> " * 5_000 + "x",
    "brackets": "[" * 5_000 + "*_`" * 2_000,
    "headings": "".join(f"{'#' * (1 + n % 6)} Heading {n}\n" for n in range(300)),
    "crlf": GUIDE.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("max_tokens", [1, 7, 64, 256])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_pieces_are_slices_that_cover_all_text_once_and_in_order(
    text: str, max_tokens: int
) -> None:
    done = 0
    for piece in split(text, max_tokens=max_tokens):
        assert not text[done : piece.start].strip()
        assert piece.text == text[piece.start : piece.end]
        assert piece.text.strip()
        assert estimated_tokens(piece.text) <= max_tokens
        done = piece.end
    assert not text[done:].strip()


@pytest.mark.parametrize("text", ["", " ", "\n\n\t\n", "\u00a0\u2003"])
def test_a_blank_text_has_no_pieces(text: str) -> None:
    assert split(text) == []


def test_a_short_text_is_one_piece() -> None:
    assert split("\n# Owls\n\nThey fly.\n") == [Piece(1, 18, "# Owls\n\nThey fly.", ())]


def test_a_piece_knows_the_headings_above_it() -> None:
    found = [(piece.text.split("\n")[0], piece.headings) for piece in split(GUIDE, max_tokens=140)]
    assert found == [
        ("---", ()),
        ("### At night", ("Owls", "Food")),
        ("Places", ("Owls",)),
        ("## Size ##", ("Owls",)),
    ]


def test_the_pieces_of_a_long_section_are_below_its_heading() -> None:
    pieces = split(f"# Owls\n\n## Food\n\n{PARAGRAPH * 5}\n\n# Cats\n\n{PARAGRAPH * 5}")
    assert {piece.headings for piece in pieces} == {(), ("Owls", "Food"), ("Cats",)}


def test_what_looks_like_a_heading_in_code_is_none() -> None:
    text = f"# Owls\n\n````\n```\n# code\n```\n````\n\n{PARAGRAPH * 5}\n\n~~~\n# more\n"
    assert {piece.headings for piece in split(text, max_tokens=64)} == {(), ("Owls",)}


def test_no_piece_is_only_a_heading() -> None:
    text = "# Owls\n\n" + "".join(f"## Part {n}\n\n{PARAGRAPH * 2}\n\n" for n in range(9))
    for piece in split(text, max_tokens=128):
        assert "moon" in piece.text


def test_the_short_end_of_a_section_stays_with_it() -> None:
    text = f"# Owls\n\n{PARAGRAPH}\n\n{PARAGRAPH}\n\nThe end.\n\n# Cats\n\n{PARAGRAPH * 2}"
    assert [piece.text[-8:] for piece in split(text) if "The end." in piece.text] == ["The end."]
    assert all(estimated_tokens(piece.text) > 32 for piece in split(text))


def test_a_token_is_estimated_as_four_bytes() -> None:
    assert [estimated_tokens(text) for text in ("", "owl", "owls!", "東京")] == [1, 1, 2, 2]


def test_a_line_without_end_takes_no_time_without_end() -> None:
    """It is split in windows; as a whole it would take minutes."""
    assert len(split("東京の梟は月を見る" * 40_000)) > 1000
