"""The door of share links: `/share/<token>`, a page for people and the file for everybody else.

The address is the only credential. A short transaction reads, the password is checked and the file
opened outside of any, and another transaction, of one statement, decides and counts. Whatever is
wrong has one answer: nobody learns whether a link ended, or never was.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from assets.serving import Serving, serve
from assets.share_pages import HEADERS, File, gone_page, password_page, share_page
from assets.sharing import count_view, find_share, open_share
from assets.sniffing import sniff
from assets.storage import is_key_of, media_storage
from assets.views import release_connection, unavailable
from rls import acting_as
from tenancy.actors import link as holder
from tenancy.credentials import basic_parts, client_address, is_password_of, limited_network
from tenancy.errors import NotSignedIn, RateLimited
from tenancy.limits import FailureLimit, take
from tenancy.logs import tenant_label
from tenancy.models import TenantSettings
from tenancy.resolution import HostKind

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from assets.models import ShareLink
    from assets.storage import StoredFile
    from tenancy.middleware import SignateRequest
    from tenancy.models import Tenant
    from tenancy.resolution import Host

logger = logging.getLogger("signate.share")

FORM = "application/x-www-form-urlencoded"
FAILURES, FAILURE_WINDOW = 10, 300
# Wrong passwords of one link from one address.
wrong_passwords = FailureLimit("share", FAILURES, FAILURE_WINDOW)


class _Elsewhere(HttpResponseRedirect):
    # As in assets.library: what a uri may be.
    allowed_schemes = ["http", "https", "rtsp"]


# The form needs no CSRF token: it has no session to ride on. Whoever could forge it has the two
# things that open the link, and opens it with them.
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def share(request: HttpRequest, token: str) -> HttpResponseBase:
    """Show what a link shares, and count that; HEAD tells the same and counts nothing."""
    request = cast("SignateRequest", request)
    found = _found(request, token)
    if found is None:
        return _gone(request)
    link, look = found
    refusal = _password_refusal(request, link, look)
    if refusal is not None:
        return refusal
    try:
        stored = _opened(link)
    except FileNotFoundError:
        return _gone(request)
    except OSError as error:
        logger.error("the storage is away: %s", error)  # noqa: TRY400 -- expected
        return unavailable()
    try:
        response = _shown(request, link, look, stored)
    except BaseException:
        if stored is not None:
            stored.close()
        raise
    return response


@csrf_exempt
def no_share(request: HttpRequest) -> HttpResponse:
    """Answer an address that cannot be a link's as one that opens nothing."""
    return _gone(request)


def _found(request: SignateRequest, token: str) -> tuple[ShareLink, TenantSettings] | None:
    """Return an open link, and how its tenant's pages look; None when there is none here."""
    known = find_share(token)
    if known is None:
        return None
    key, tenant_id = known
    with acting_as(holder(tenant_id), read_only=True):
        link = open_share(key)
        if link is None or not _is_at_home(request.host, link.tenant):
            return None
        look = TenantSettings.objects.get(tenant_id=tenant_id)
    tenant_label.set(str(tenant_id))
    release_connection()
    return link, look


def _is_at_home(host: Host, tenant: Tenant) -> bool:
    """Return whether a tenant's links open here: on its own hosts, and on the platform's."""
    if host.kind is HostKind.SUBDOMAIN:
        return host.slug == tenant.slug
    if host.kind is HostKind.CUSTOM_DOMAIN:
        return tenant.domain_verified_at is not None and host.name == tenant.domain
    return True


def _opened(link: ShareLink) -> StoredFile | None:
    """Open the asset's file; None when it has none. Raises OSError, FileNotFoundError."""
    asset = link.asset
    if not asset.media_path:
        return None
    if not is_key_of(asset.media_path, asset.tenant_id, asset.pk):
        raise FileNotFoundError(asset.media_path)
    return media_storage().read(asset.media_path)


def _shown(
    request: SignateRequest, link: ShareLink, look: TenantSettings, stored: StoredFile | None
) -> HttpResponseBase:
    """Return the asset as whoever asks can use it, counted; closes the file when it is done."""
    asset = link.asset
    if stored is None and not _is_address(asset.uri):
        return _gone(request)
    if request.method != "HEAD" and not _counted(link):
        if stored is not None:
            stored.close()
        return _gone(request)
    if _is_browser(request):
        file = None
        if stored is not None:
            file = File(asset.media_path, stored.size, sniff(stored.head))
            stored.close()
        return share_page(request, link, look, file)
    response: HttpResponseBase
    if stored is None:
        response = _Elsewhere(asset.uri or "")
    else:
        name = asset.name or asset.asset_id
        response = serve(request, stored, Serving(asset.media_path, name, 0))
    for header, value in HEADERS.items():
        response[header] = value
    return response


def _is_address(uri: str | None) -> bool:
    """Return whether it leads anywhere: a path on an Anthias player (an import) does not."""
    try:
        parts = urlsplit(uri or "")
        return parts.scheme in _Elsewhere.allowed_schemes and bool(parts.hostname)
    except ValueError:
        return False


def _counted(link: ShareLink) -> bool:
    with acting_as(holder(link.tenant_id)):
        counted = count_view(link)
    release_connection()
    return counted


def _is_browser(request: HttpRequest) -> bool:
    """Return whether somebody looks at a page: programs take anything, and do not ask for HTML."""
    accepted = request.headers.get("Accept", "").split(",")
    return any(kind.partition(";")[0].strip().lower() == "text/html" for kind in accepted)


def _password_refusal(
    request: SignateRequest, link: ShareLink, look: TenantSettings
) -> HttpResponse | None:
    """Return why the link does not open without a (or this) password; None when it does."""
    if not link.password:
        return None
    given = _given_password(request)
    if given is None:
        return _ask(request, link, look, "This link needs a password.")
    counter = f"{link.pk}:{limited_network(client_address(request))}"
    try:
        take([(wrong_passwords, counter)])
    except RateLimited as error:
        response = _ask(request, link, look, error.message, status=429)
        response["Retry-After"] = str(error.retry_after)
        return response
    if is_password_of(link.password, given):
        wrong_passwords.forget(counter)
        return None
    logger.warning("refused: wrong password of share link %s", link.pk)
    return _ask(request, link, look, "The password is wrong.", status=403)


def _given_password(request: HttpRequest) -> str | None:
    """Return what came in the form, or as the password of Basic with any name."""
    # Not multipart: Django would put the files that come with it on the disk, of any size.
    if request.content_type == FORM and "password" in request.POST:
        return request.POST["password"]
    header = request.headers.get("Authorization", "")
    if header.split()[:1] and header.split()[0].lower() == "basic":
        try:
            return basic_parts(header)[1]
        except NotSignedIn:
            return None
    return None


def _ask(
    request: HttpRequest,
    link: ShareLink,
    look: TenantSettings,
    message: str,
    *,
    status: int | None = None,
) -> HttpResponse:
    """Ask for the password: with a form, or with a challenge."""
    if _is_browser(request):
        error = message if status else ""
        return password_page(request, link, look, error=error, status=status or 200)
    codes = {429: ("Too many attempts", "RATE_LIMITED")}
    title, code = codes.get(status or 0, ("Authentication failed", "UNAUTHENTICATED"))
    response = JsonResponse(
        {"error": title, "message": message, "code": code},
        status=429 if status == 429 else 401,
        headers=HEADERS,
    )
    if status != 429:
        response["WWW-Authenticate"] = 'Basic realm="share", charset="UTF-8"'
    return response


def _gone(request: HttpRequest) -> HttpResponse:
    if _is_browser(request):
        return gone_page(request)
    return JsonResponse(
        {
            "error": "Not found",
            "message": "There is no such link, or it is no longer open.",
            "code": "NOT_FOUND",
        },
        status=404,
        headers=HEADERS,
    )
