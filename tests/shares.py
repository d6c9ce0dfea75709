"""Share links for tests: made by the real functions, opened by a program or by a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from django.test import Client

from assets import share_views, sharing
from assets.models import ShareLink
from rls import acting_as
from tests.conftest import PLATFORM
from tests.media import add_media, body, end

if TYPE_CHECKING:
    from assets.models import Asset
    from tests.world import Inhabited

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


def share(place: Inhabited, asset: Asset | None = None, **values: Any) -> tuple[Asset, str]:
    """Share an asset (a new picture, unless one is given); return it and the path of its link."""
    asset = asset or add_media(place)
    with acting_as(place.owner) as actor:
        return asset, path_of(sharing.share_asset(actor=actor, asset=asset.pk, values=values))


def path_of(link: ShareLink) -> str:
    """Return the path of a link's address."""
    url = sharing.share_url(link)
    assert url is not None
    return urlsplit(url).path


def link_of(place: Inhabited, asset: Asset) -> ShareLink:
    """Return the asset's newest link as it is stored."""
    with acting_as(place.owner):
        return ShareLink.objects.filter(asset_id=asset.pk).latest("pk")


def change(place: Inhabited, asset: Asset, **values: Any) -> None:
    """Write to the asset's link past every check."""
    with acting_as(place.owner):
        ShareLink.objects.filter(asset_id=asset.pk, revoked_at=None).update(**values)


def visit(
    path: str,
    *,
    method: str = "GET",
    host: str = f"acme.{PLATFORM}",
    html: bool = False,
    **how: Any,
) -> Any:
    """Return the answer to a program, or with `html` to a browser; `how` holds headers, data."""
    headers = {"Accept": HTML if html else "*/*", **how.pop("headers", {})}
    if "data" in how and "content_type" not in how:
        how |= {"data": urlencode(how["data"]), "content_type": share_views.FORM}
    client = Client(HTTP_HOST=host, raise_request_exception=False)
    answer = getattr(client, method.lower())(path, headers=headers, **how)
    if answer.streaming:
        sent = body(answer)
        end(answer)
        answer.streaming_content = [sent]
    return answer


def shape(answer: Any) -> tuple[int, bytes, dict[str, str]]:
    """Return everything a client sees of an answer, its request's id aside."""
    headers = {name: value for name, value in answer.items() if name != "X-Request-ID"}
    return answer.status_code, answer.content, headers
