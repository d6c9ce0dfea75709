"""Signing in and out with a browser: a form, a session, CSRF."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.contrib.auth import authenticate, login, logout
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods, require_POST

from rls import acting_as
from tenancy.actors import person
from tenancy.credentials import identify
from tenancy.errors import RateLimited, TenantRefused
from tenancy.resolution import choose

if TYPE_CHECKING:
    from uuid import UUID

    from tenancy.middleware import SignateRequest

logger = logging.getLogger("signate.sign_in")
DEFAULT_NEXT = "/graphql"
NEXT_LENGTH = 500  # characters; Django refuses to redirect to what is long once it is quoted


def _destination(request: SignateRequest) -> str:
    """Return where to go after signing in: a path of this host, whatever was asked for."""
    wanted = request.POST.get("next") or request.GET.get("next") or DEFAULT_NEXT
    is_path = len(wanted) <= NEXT_LENGTH and wanted[:1] == "/" and wanted[1:2] not in {"/", "\\"}
    if is_path and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None):
        return wanted
    return DEFAULT_NEXT


def sign_in_url(request: SignateRequest) -> str:
    """Return the address of the form, coming back to this request's path."""
    return "/login/?" + urlencode({"next": request.get_full_path()})


def page(
    request: SignateRequest, name: str, context: dict[str, object], status: int
) -> HttpResponse:
    """Return a page of ours under a policy that runs no script at all."""
    response = render(request, name, context, status=status)
    response["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return response


def _refuse_stranger(request: SignateRequest, user_id: UUID) -> None:
    """Raise TenantRefused for somebody who could do nothing on this host but sign out again."""
    identity = identify(user_id)
    choose(request.host, identity.memberships if identity else ())


@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: SignateRequest) -> HttpResponse:
    """Show the form, or start a session and go on to where the person was heading."""
    context: dict[str, object] = {
        "next": _destination(request),
        "host": request.host.name,
        "username": "",
        "error": "",
    }
    if request.method != "POST":
        return page(request, "tenancy/login.html", context, 200)
    username = request.POST.get("username", "")
    try:
        user = authenticate(request, username=username, password=request.POST.get("password", ""))
    except RateLimited as error:
        context |= {"username": username, "error": error.message}
        response = page(request, "tenancy/login.html", context, 429)
        response["Retry-After"] = str(error.retry_after)
        return response
    if user is None:
        context |= {"username": username, "error": "The username or the password is wrong."}
        return page(request, "tenancy/login.html", context, 401)
    try:
        _refuse_stranger(request, user.pk)
    except TenantRefused as error:
        context |= {"username": username, "error": error.message}
        return page(request, "tenancy/login.html", context, 403)
    with acting_as(person(user.pk)):
        login(request, user)
    return HttpResponseRedirect(_destination(request))


@never_cache
@csrf_protect
@require_POST
def sign_out(request: SignateRequest) -> HttpResponse:
    """End the session and show the form."""
    logout(request)
    return HttpResponseRedirect("/login/")


def stale_form(request: SignateRequest, reason: str = "") -> HttpResponse:
    """Say what to do when a form came without its CSRF token (the setting CSRF_FAILURE_VIEW)."""
    logger.warning("refused: %s", reason)
    return page(request, "tenancy/stale_form.html", {}, 403)
