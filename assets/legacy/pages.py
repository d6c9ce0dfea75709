"""What addresses below /api that nobody has answer: a page, whoever asks (SPEC section 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt

if TYPE_CHECKING:
    from django.http import HttpRequest

_PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>Page not found — Signate</title>"
    "<h1>Page not found</h1><p>There is nothing at this address. Addresses of the API have no "
    "slash at their end, such as <code>/api/v2/assets</code>.</p></html>"
)


@csrf_exempt
def no_page(request: HttpRequest) -> HttpResponse:
    """Answer 404 to every method, with a page."""
    del request
    return HttpResponse(_PAGE, status=404)
