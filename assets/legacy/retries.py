"""A write that comes again with the same Idempotency-Key is answered as it was, and not done again.

Called by assets.legacy.endpoint. Answers are kept for a day, in Redis: with Redis away a repeated
write is done again, as without a key. Refusals are not kept: what was refused may be tried again.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.core.cache import cache
from django.core.exceptions import RequestDataTooBig
from django.http import UnreadablePostError

from assets.legacy.errors import detail
from assets.legacy.negotiation import MULTIPART, settle_length

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenancy.actors import Actor
    from tenancy.middleware import SignateRequest

HEADER = "Idempotency-Key"
KEPT_S = 86_400
# No handler takes longer; one that was killed has not answered and may be repeated then.
RUNNING_S = 120
LONGEST_KEY = 255
UNDER_WAY = "A request with this Idempotency-Key is under way. Wait for its answer."
OTHER = "This Idempotency-Key was sent with another request. Use a new key for each."


def once(
    request: SignateRequest, actor: Actor, key: str, do: Callable[[], tuple[int, str | None]]
) -> tuple[int, str | None]:
    """Return status and JSON text of what `do` answers now, or answered to the same request.

    Raises LegacyError for a key that belongs to another request, or to one that is under way.
    """
    if not 0 < len(key) <= LONGEST_KEY:
        raise detail(400, f"An Idempotency-Key has 1 to {LONGEST_KEY} characters.")
    who = actor.user_id or actor.device_id or actor.kind
    name = f"idempotency:{actor.entered()}:{who}:{sha256(key.encode()).hexdigest()}"
    mark = _mark(request)
    if not cache.add(name, {"mark": mark}, RUNNING_S):
        kept: Any = cache.get(name)
        if isinstance(kept, dict):
            if kept["mark"] != mark:
                raise detail(422, OTHER)
            if "status" not in kept:
                raise detail(409, UNDER_WAY)
            return kept["status"], kept["text"]
    try:
        status, text = do()
    except BaseException:
        cache.delete(name)
        raise
    cache.set(name, {"mark": mark, "status": status, "text": text}, KEPT_S)
    return status, text


def _mark(request: SignateRequest) -> str:
    """Return what tells a request from others; of a file that is sent, only how long it is."""
    told = f"{request.method} {request.path} {request.headers.get('Content-Range', '')}".encode()
    if request.content_type == MULTIPART:
        body = str(request.META.get("CONTENT_LENGTH")).encode()
    else:
        settle_length(request, 2**20)
        try:
            body = request.body
        except (RequestDataTooBig, UnreadablePostError):
            # The handler says so.
            body = b""
    return sha256(told + b"\n" + body).hexdigest()
