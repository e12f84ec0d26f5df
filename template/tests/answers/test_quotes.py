import pytest

from app.answers.quotes import find_quote

TEXT = "The limit is 100 requests\n  a minute, i.e. 3.5 per <second> & key."


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("The limit is 100 requests", "The limit is 100 requests"),
        (" 100 requests a\tminute", "100 requests\n  a minute"),
        ("per &lt;second&gt; &amp; key", "per <second> & key"),
        ("per <second> & key", "per <second> & key"),
        (TEXT, TEXT),
    ],
)
def test_a_quote_comes_back_as_its_text_has_it(quote: str, found: str) -> None:
    assert find_quote(quote, TEXT) == found
    assert found in TEXT


@pytest.mark.parametrize(
    "quote",
    [
        "The limit is 200 requests",
        "the limit is 100 requests",
        "The limit was 100 requests",
        "The limit is 10",
        "he limit is 100 requests",
        "a minute, i.e. 3",
        "5 per <second> & key",
        "The limit … 100 requests",
        "The limit",
        "is",
        "",
        " ",
    ],
)
def test_what_is_altered_cut_or_too_short_is_no_quote(quote: str) -> None:
    assert find_quote(quote, TEXT) is None


def test_a_short_text_may_be_quoted_whole() -> None:
    assert find_quote("Yes.", " Yes.\n") == "Yes."


def test_escapes_that_the_text_itself_has_are_found() -> None:
    assert find_quote("Write &lt; for it", "Write &lt; for it.") == "Write &lt; for it"
    assert find_quote("Write &amp;lt; for it", "Write &lt; for it.") == "Write &lt; for it"


def test_scripts_without_spaces_are_quoted_anywhere() -> None:
    assert (
        find_quote("返品は三十日以内に可能です", "商品の返品は三十日以内に可能です。") is not None
    )
