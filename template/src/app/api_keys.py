"""API keys: who may call. Only digests are kept, so no log or dump of the settings holds a key."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
SHORTEST_KEY = 16


def digest(key: str) -> str:
    """Return `sha256:` and the hex digest of `key`, the form that is safe to write down."""
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def _digested(key: str) -> str:
    if _DIGEST.fullmatch(key):
        return key
    if key.startswith("sha256:"):
        raise ValueError("after sha256: come the 64 digits of a hex digest, in lower case")
    if len(key) < SHORTEST_KEY or not re.fullmatch(r"[!-~]+", key):
        raise ValueError(f"use {SHORTEST_KEY} or more characters of ASCII, without spaces")
    return digest(key)


def _distinct(keys: dict[str, str]) -> dict[str, str]:
    if len(set(keys.values())) < len(keys):
        raise ValueError("two principals share one key: give each its own")
    return keys


Principal = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
ApiKey = Annotated[str, AfterValidator(_digested)]
ApiKeys = Annotated[dict[Principal, ApiKey], AfterValidator(_distinct)]


def principal_of(key: str, keys: Mapping[str, str]) -> str | None:
    """Return whose key this is, taking the same time whether, and where, it is found."""
    presented = digest(key)
    found = [name for name, known in keys.items() if hmac.compare_digest(presented, known)]
    return found[0] if found else None
