"""What a share link's page says: the values its templates show, and the policy it is shown under.

Called by assets.share_views inside a door. No script runs on these pages, nothing comes from
another host, and the address of the page, which is a credential, is never put into it.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.files.storage import default_storage
from django.shortcuts import render
from django.utils import timezone

from assets.colors import readable_on, surface
from assets.media_urls import Variant, signed_url
from assets.serving import is_in_folder

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from assets.models import Asset, ShareLink
    from assets.sniffing import MediaType
    from tenancy.models import Tenant, TenantSettings

# What browsers draw; other pictures (HEIC, TIFF) show their thumbnail and can be saved.
DRAWN = frozenset(
    {"image/avif", "image/bmp", "image/gif", "image/jpeg", "image/png", "image/svg+xml"}
    | {"image/webp"}
)
# How long the page's own addresses of the file open it: long enough to load it, or to jump to and
# fro in a video. They count no view, so they are no longer than they have to be.
PICTURE_SECONDS, VIDEO_SECONDS = 300, 3600
# Below this much time a date alone says too little.
SOON = timedelta(days=2)
# Of the grounds that share.css puts text on, those that are closest to it.
LIGHT, DARK = "#f1f4f8", "#161b22"

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",
    "X-Robots-Tag": "noindex, nofollow",
}


@dataclass(frozen=True, slots=True)
class File:
    """What is known of the asset's file: its key, its size in bytes, what it begins like."""

    key: str
    size: int
    kind: MediaType | None


def share_page(
    request: HttpRequest, link: ShareLink, look: TenantSettings, file: File | None
) -> HttpResponse:
    """Return the page that shows the asset of an open link."""
    asset, now = link.asset, timezone.now()
    shown = {
        "name": asset.name or "Untitled",
        "description": asset.description.strip(),
        "expires_at": link.expires_at,
        "until": until(link.expires_at, now=now, zone=ZoneInfo(look.timezone)),
        "file": file,
        **(_file(asset, file, link.expires_at - now) if file else _address(asset)),
    }
    return _page(request, "share", look=look, tenant=link.tenant, context=shown, file=file)


def password_page(
    request: HttpRequest, link: ShareLink, look: TenantSettings, *, error: str, status: int
) -> HttpResponse:
    """Return the form that asks for the link's password; it says nothing of the asset."""
    return _page(
        request,
        "share_password",
        look=look,
        tenant=link.tenant,
        context={"error": error},
        status=status,
    )


def gone_page(request: HttpRequest) -> HttpResponse:
    """Return the page of every link that opens nothing, whatever the reason."""
    return _page(request, "share_gone", status=404)


def until(moment: datetime, *, now: datetime, zone: ZoneInfo) -> str:
    """Return when a link ends, in the tenant's time zone: `24 Dec 2026`, soon with the time."""
    local = moment.astimezone(zone)
    day = f"{local.day} {local:%b %Y}"
    return day if moment - now > SOON else f"{day}, {local:%H:%M} ({zone.key})"


def _file(asset: Asset, file: File, left: timedelta) -> dict[str, Any]:
    mimetype = file.kind.mimetype if file.kind else ""
    kind = file.kind.kind if file.kind else "file"
    is_video = kind == "video"
    lifetime = timedelta(seconds=VIDEO_SECONDS if is_video else PICTURE_SECONDS)
    address = _path(asset, Variant.ORIGINAL, min(lifetime, left))
    thumbnail = _path(asset, Variant.THUMBNAIL, min(lifetime, left)) if asset.thumbnail_url else ""
    return {
        "image": address if mimetype in DRAWN else "" if is_video else thumbnail,
        "video": address if is_video else "",
        "poster": thumbnail,
        "download": address,
        "kind": kind.title(),
        "format": file.kind.extension[1:].upper() if file.kind else "",
    }


def _path(asset: Asset, variant: Variant, lifetime: timedelta) -> str:
    """Return a signed address on whatever host the page was opened."""
    parts = urlsplit(signed_url(asset, variant, lifetime=lifetime))
    return f"{parts.path}?{parts.query}"


def _address(asset: Asset) -> dict[str, Any]:
    # Whoever shows a page has made sure that it is an address.
    parts = urlsplit(asset.uri or "")
    is_stream = parts.scheme == "rtsp" or asset.mimetype == "streaming"
    return {
        "address": asset.uri,
        "host": parts.hostname,
        "kind": "Stream" if is_stream else "Web page",
    }


def _page(
    request: HttpRequest,
    name: str,
    *,
    look: TenantSettings | None = None,
    tenant: Tenant | None = None,
    context: dict[str, Any] | None = None,
    file: File | None = None,
    status: int = 200,
) -> HttpResponse:
    style = _style(look.primary_color) if look else ""
    shown = {"tenant": tenant, "style": style, **(context or {})}
    response = render(request, f"assets/{name}.html", shown, status=status)
    for header, value in HEADERS.items():
        response[header] = value
    media = f"'self' {_bucket(file.key)}".strip() if file else "'self'"
    styles = "'self'"
    if style:
        styles += f" 'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'"
    response["Content-Security-Policy"] = (
        f"default-src 'none'; img-src {media}; media-src {media}; style-src {styles}; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return response


def _style(color: str) -> str:
    """Return the tenant's colour as a style sheet; the policy of the page names its digest."""
    fill, ink = surface(color)
    light, dark = (readable_on(color, ground) for ground in (LIGHT, DARK))
    return (
        f":root{{--brand:{color};--fill:{fill};--ink-on-fill:{ink};--accent:{light}}}"
        f"@media(prefers-color-scheme:dark){{:root{{--accent:{dark}}}}}"
    )


def _bucket(key: str) -> str:
    """Return the origin that media comes from when it is not this host; else nothing."""
    if not settings.S3_REDIRECT or is_in_folder():
        return ""
    address: str = default_storage.address(key, seconds=1, headers={})  # type: ignore[attr-defined]
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
