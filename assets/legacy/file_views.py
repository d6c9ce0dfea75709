"""`/anthias_assets/<file>`: an asset's file where Anthias's players look for it.

The shim shows `/data/anthias_assets/<file>` as an asset's uri, as Anthias does; a player fetches
the last part of it here, on its tenant's host, with its own credential.
"""

from __future__ import annotations

import logging
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, cast

from django.db import connection
from django.http import JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from assets.legacy.addressing import player
from assets.legacy.docs import Doc, Given, Reply, ref, text_of
from assets.legacy.errors import LegacyError
from assets.legacy.fields import is_storable
from assets.legacy.negotiation import JSON
from assets.models import Asset
from assets.serving import Serving, serve
from assets.storage import is_key_of, media_storage
from rls import acting_as

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from tenancy.actors import Actor
    from tenancy.middleware import SignateRequest

_BYTES = {"type": "string", "contentMediaType": "application/octet-stream"}
DOC = Doc(
    "Player's own",
    "Fetch the file of an asset",
    {
        200: Reply(
            "The file.", _BYTES, "*/*", {"ETag": text_of("Send it back as `If-None-Match`.")}
        ),
        206: Reply(
            "The bytes that were asked for.",
            _BYTES,
            "*/*",
            {"Content-Range": text_of("Which ones these are.", "bytes 0-99/1234")},
        ),
        302: Reply(
            "The file is to be had there for a while.", headers={"Location": text_of("Where.")}
        ),
        304: Reply("It has not changed."),
        401: Reply(
            "No credential, or one that may not look at assets.",
            {"anyOf": [ref("Detail"), ref("Error")]},
            JSON,
        ),
        404: Reply("There is no such file in this tenant.", ref("Detail"), JSON),
        412: Reply("It has changed, or has not."),
        416: Reply("It is not as long as that."),
        503: Reply(
            "The storage, or the service, is not available.",
            {"anyOf": [ref("Detail"), ref("Error")]},
            JSON,
        ),
    },
    "The last part of an asset's `uri` that starts with `/`.",
    given=(
        Given("Range", "Which bytes are wanted.", text_of("", "bytes=0-99")),
        Given("If-None-Match", "The `ETag` of what is there already.", text_of("")),
    ),
)
logger = logging.getLogger("signate.media")


@csrf_exempt
@require_safe
def anthias_file(request: HttpRequest, name: str) -> HttpResponseBase:
    """Answer with the file of that name, or part of it."""
    actor = _actor(cast("SignateRequest", request))
    if actor is None:
        return _refused(401, "Authentication credentials were not provided.")
    found = _found(actor, name)
    if not connection.in_atomic_block:
        # Django would keep it until the last byte is sent.
        connection.close()
    if found is None:
        return _refused(404, "Not found.")
    try:
        return serve(request, media_storage().read(found.key), found)
    except FileNotFoundError:
        return _refused(404, "Not found.")
    except OSError as error:
        logger.error("the storage is away: %s", error)  # noqa: TRY400 -- expected
        return _refused(503, "The file storage cannot be reached. Try again in a few seconds.")


def _actor(request: SignateRequest) -> Actor | None:
    """Return who may look at the tenant's assets; None for everybody else."""
    if getattr(request, "refusal", None) is not None:
        return None
    actor = request.actor
    if actor.tenant_id is None:
        try:
            actor = player(request)
        except LegacyError:
            return None
    return actor if actor.can("assets.view") else None


def _found(actor: Actor, name: str) -> Serving | None:
    """Return the file whose uri ends in `name`; most are called by their asset's own id."""
    if not is_storable(name):
        return None
    with acting_as(actor, read_only=True):
        rows = Asset.objects.filter(tenant_id=actor.entered()).exclude(media_path="")
        rows = rows.only("tenant_id", "media_path", "name", "asset_id", "uri")
        row = rows.filter(asset_id=PurePosixPath(name).stem, uri__endswith=f"/{name}").first()
        row = row or rows.filter(uri__endswith=f"/{name}").order_by("pk").first()
    if row is None or not is_key_of(row.media_path, row.tenant_id, row.pk):
        return None
    return Serving(row.media_path, row.name or row.asset_id, None)


def _refused(status: int, message: str) -> JsonResponse:
    response = JsonResponse({"detail": message}, status=status)
    response["Cache-Control"] = "no-store"
    if status == 401:
        response["WWW-Authenticate"] = 'Basic realm="api"'
    if status == 503:
        response["Retry-After"] = "3"
    return response
