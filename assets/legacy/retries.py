"""What tells a legacy write from another one under the same Idempotency-Key.

Called by assets.legacy.endpoint; what becomes of the key is tenancy.idempotency's. Clients write a
form anew when they repeat it, with other boundaries, so what counts is what it says. Files are not
read for it: what counts of one is how long it is, and the digest that its client declares.
"""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.http import UnreadablePostError
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from assets.legacy.negotiation import MULTIPART, SkippedFiles, settle_length

if TYPE_CHECKING:
    from tenancy.middleware import SignateRequest

# RFC 9530, and what was there before it.
_DIGESTS = ("Content-Digest", "Repr-Digest", "Digest", "Content-MD5")
# How clients say which piece of which file it is (SPEC section 5).
_PIECE = ("Content-Range", "X-Upload-Id")
_MOST_BYTES = 2**20


def told(request: SignateRequest, *, takes_file: bool) -> list[bytes]:
    """Return what a request says, in parts; with `takes_file` its body is left unread."""
    line = [str(request.method), request.path, request.META.get("QUERY_STRING", "")]
    parts = [one.encode(errors="surrogatepass") for one in line]
    if takes_file and request.content_type == MULTIPART:
        named = [str(request.META.get("CONTENT_LENGTH") or "")]
        named += [request.headers.get(name, "") for name in (*_PIECE, *_DIGESTS)]
        return [*parts, *(one.encode(errors="surrogatepass") for one in named)]
    return [*parts, _body(request)]


def _body(request: SignateRequest) -> bytes:
    """Return what the body says; nothing for one that the handler refuses for its size."""
    settle_length(request, _MOST_BYTES)
    try:
        body = request.body
    except (RequestDataTooBig, UnreadablePostError):
        return b""
    if request.content_type != MULTIPART:
        return body
    try:
        handlers = [SkippedFiles(request)]
        parser = MultiPartParser(request.META, BytesIO(body), handlers, "utf-8")
        form = sorted(parser.parse()[0].lists())
    except (MultiPartParserError, TooManyFieldsSent, RequestDataTooBig):
        return body
    return json.dumps(form).encode()
