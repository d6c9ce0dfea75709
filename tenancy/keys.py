"""Secrets of machines: 256 random bits behind a prefix they are looked up by.

`sgd_<prefix>_<secret>`: the kind (`sgd` of a device, `sgc` of a capability address, `sgt` of an
API token), ten letters that find the row, and the rest, which is kept as a SHA-256 digest only.
Such a secret cannot be guessed, so it needs no slow hash and no counting of failures; it is shown
once, when it is made.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_KEY = re.compile(r"(sgd|sgc|sgt)_([a-z2-7]{10})_[A-Za-z0-9_-]{43}", re.ASCII)


class KeyKind(StrEnum):
    """What a secret is of: its first letters."""

    CAPABILITY = "sgc"
    DEVICE = "sgd"
    TOKEN = "sgt"  # noqa: S105 -- a kind, not a secret


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a secret by looking at it: what to look up, and what to compare."""

    kind: KeyKind
    prefix: str
    digest: str


def make_key(kind: KeyKind) -> tuple[str, Key]:
    """Return a new secret, to be shown once, and what is kept of it."""
    prefix = "".join(secrets.choice(_ALPHABET) for _ in range(10))
    secret = f"{kind}_{prefix}_{secrets.token_urlsafe(32)}"
    return secret, Key(kind, prefix, sha256(secret.encode()).hexdigest())


def read_key(text: str) -> Key | None:
    """Return what a text would be looked up by; None for one that is no secret of ours."""
    match = _KEY.fullmatch(text)
    if match is None:
        return None
    return Key(KeyKind(match[1]), match[2], sha256(text.encode()).hexdigest())
