"""Turn a text into a vector that tells what it is about, by its words alone.

No model has to be asked or installed for it. Two texts are near where they share words or parts of
words; whether they mean the same it does not know.
"""

import hashlib
import math
import re
import unicodedata
from collections import Counter
from typing import Final

DIMENSIONS: Final = 512
# Of a long text its beginning: nobody waits for the whole of it.
_MOST_CHARS: Final = 2_000
# Shorter words are mostly those that hold a sentence together.
_SHORTEST: Final = 4


def topic_of(text: str) -> list[float]:
    """Return a vector of length 1, or of zeros where the text has no word that counts.

    The same text has the same vector everywhere: whoever changes that begins with a new reference.
    """
    vector = [0.0] * DIMENSIONS
    for feature, count in Counter(_features(text)).items():
        digest = hashlib.blake2b(feature.encode(), digest_size=4).digest()
        place, sign = divmod(int.from_bytes(digest, "little"), 2)
        vector[place % DIMENSIONS] += (1 if sign else -1) * (1 + math.log(count))
    length = math.hypot(*vector) or 1.0
    return [value / length for value in vector]


def _features(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text[:_MOST_CHARS]).casefold()
    # Written without spaces, a whole sentence of Chinese or Thai is a word: its parts count.
    words = [f"<{word}>" for word in re.findall(r"\w+", plain) if len(word) >= _SHORTEST]
    # The marks tell a word from the same letters inside another.
    return words + [word[i : i + 3] for word in words for i in range(len(word) - 2)]
