"""The door of media: `/media/<tenant>/<asset>/<variant>`, by signature or as a member.

One transaction to find out whether the file may be had, closed before its first byte is sent.
Whatever is wrong has one answer: who may not have a file does not learn whether there is one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from django.db import connection
from django.http import JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from assets.media_urls import SIGNED_COLUMNS, Variant, is_signed_for, seconds_left
from assets.models import Asset
from assets.serving import Serving, serve
from assets.storage import is_key_of, media_storage, thumbnail_key
from rls import acting_as
from tenancy.actors import link
from tenancy.logs import tenant_label
from tenancy.tenants import is_active_tenant

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase

    from tenancy.actors import Actor
    from tenancy.middleware import SignateRequest

logger = logging.getLogger("signate.media")


@csrf_exempt
@require_safe
def media(request: HttpRequest, tenant: UUID, asset: UUID, variant: str) -> HttpResponseBase:
    """Answer with an asset's file, or part of it."""
    found = _found(cast("SignateRequest", request), tenant, asset, variant)
    if found is None:
        return _not_found()
    release_connection()
    try:
        return serve(request, media_storage().read(found.key), found)
    except FileNotFoundError:
        return _not_found()
    except OSError as error:
        logger.error("the storage is away: %s", error)  # noqa: TRY400 -- expected
        return unavailable()


@csrf_exempt
@require_safe
def no_media(request: HttpRequest) -> HttpResponse:
    """Answer an address that cannot be one of media as one that opens nothing."""
    del request
    return _not_found()


def _found(request: SignateRequest, tenant: UUID, asset: UUID, variant: str) -> Serving | None:
    """Return what may be had at this address; None when that is nothing."""
    signature, expires = request.GET.get("signature"), request.GET.get("expires", "")
    left = None if signature is None else seconds_left(expires)
    actor = request.actor if left is None else link(tenant)
    if variant not in set(Variant) or not _may_look(actor, tenant, left):
        return None
    with acting_as(actor, read_only=True):
        row = (
            Asset.objects.filter(tenant_id=tenant, pk=asset)
            .only(*SIGNED_COLUMNS, "thumbnail_url", "name", "asset_id")
            .first()
        )
    if row is None:
        return None
    which = Variant(variant)
    if signature is not None:
        if not is_signed_for(row, which, expires=expires, signature=signature):
            return None
        tenant_label.set(str(tenant))
    key = _key(row, which)
    return Serving(key, row.name or row.asset_id, left) if is_key_of(key, tenant, asset) else None


def _may_look(actor: Actor, tenant: UUID, left: int | None) -> bool:
    """Return whether it is worth looking: `left` is how long a signature would still be good."""
    if left is None:
        return actor.tenant_id == tenant and actor.can("assets.view")
    return left > 0 and is_active_tenant(tenant) is True


def _key(row: Asset, variant: Variant) -> str:
    if variant is Variant.ORIGINAL:
        return row.media_path
    return thumbnail_key(row.tenant_id, row.pk) if row.thumbnail_url else ""


def release_connection() -> None:
    """Give the connection back: Django would keep it until the last byte is sent."""
    if not connection.in_atomic_block:
        connection.close()


def _not_found() -> HttpResponse:
    return JsonResponse(
        {
            "error": "Not found",
            "message": "There is no such file, or this address does not open it (any more).",
            "code": "NOT_FOUND",
        },
        status=404,
        headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
    )


def unavailable() -> HttpResponse:
    """Return the 503 of a storage that cannot be reached."""
    return JsonResponse(
        {
            "error": "Service unavailable",
            "message": "The file storage cannot be reached. Try again in a few seconds.",
            "code": "UNAVAILABLE",
        },
        status=503,
        headers={"Cache-Control": "no-store", "Retry-After": "3"},
    )
