"""API keys: who may call. Only digests are kept, so no log or dump of the settings holds a key."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, SecretStr

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_PRINCIPAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
SHORTEST_KEY = 16


def _digests(keys: object) -> object:
    """Replace each key by its digest, unless it is one."""
    if not isinstance(keys, Mapping):
        raise ValueError('use a JSON object of principal and key, like {"alice": "…"}')
    digests: dict[str, str] = {}
    for principal, value in keys.items():
        key = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        if not _PRINCIPAL.fullmatch(str(principal)):
            raise ValueError(f"{principal!r} is no principal: use letters, digits and . _ @ -")
        is_digest = _DIGEST.fullmatch(key)
        if not is_digest and len(key) < SHORTEST_KEY:
            raise ValueError(
                f"the key of {principal!r} is too short: use at least {SHORTEST_KEY} characters,"
                " or sha256: and its hex digest"
            )
        digests[principal] = key if is_digest else digest(key)
    if len(set(digests.values())) < len(digests):
        raise ValueError("two principals share one key: give each its own")
    return digests


ApiKeys = Annotated[dict[str, str], BeforeValidator(_digests)]


def digest(key: str) -> str:
    """Return `sha256:` and the hex digest of `key`, the form that is safe to write down."""
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def principal_of(key: str, keys: Mapping[str, str]) -> str | None:
    """Return whose key this is, taking the same time whether, and where, it is found."""
    presented, found = digest(key), None
    for principal, known in keys.items():
        if hmac.compare_digest(presented, known):
            found = principal
    return found
