"""Tags: what one may be, on assets and on devices alike, which are matched by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenancy.errors import InvalidInput
from tenancy.tenants import clean_text

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TAGS = 100
MAX_TAG = 100  # characters


def clean_tags(value: Sequence[str]) -> list[str]:
    """Return tags without outer space and repetition, in the order given; raises InvalidInput."""
    tags = list(dict.fromkeys(clean_text(tag).strip() for tag in value))
    if len(tags) > MAX_TAGS:
        message = f"There can be {MAX_TAGS} tags at most."
        raise InvalidInput(message)
    if not all(0 < len(tag) <= MAX_TAG for tag in tags):
        message = f"A tag has 1 to {MAX_TAG} characters."
        raise InvalidInput(message)
    return tags
