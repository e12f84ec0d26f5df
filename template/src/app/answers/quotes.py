"""Find a quote in the text that it is from.

No word may differ, and none may be cut: "the limit is 10" is no quote of "the limit is 100". What
is too short to say anything is none either.
"""

import html
import re
from typing import Final

# Of scripts that put spaces between words.
_LETTER: Final = r"[0-9A-Za-z\u00c0-\u052f]"


def find_quote(quote: str, text: str) -> str | None:
    """Return the characters of `text` that `quote` repeats, white space and HTML escapes apart.

    None where it repeats none, or has less than 3 words and less than 12 characters, unless it is
    the whole text.
    """
    for wanted in (html.unescape(quote).split(), quote.split()):
        long_enough = len(wanted) >= 3 or len(" ".join(wanted)) >= 12
        if wanted and (long_enough or wanted == text.split()):
            words = r"\s+".join(map(re.escape, wanted))
            before = rf"(?<!{_LETTER})(?<!\d[.,])" if re.match(_LETTER, wanted[0]) else ""
            after = rf"(?!{_LETTER}|[.,]\d)" if re.match(_LETTER, wanted[-1][-1]) else ""
            if found := re.search(before + words + after, text):
                return found[0]
    return None
