"""Signing in and out with a browser: a form, a session, CSRF."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods, require_POST

from rls import acting_as
from tenancy.account_log import note
from tenancy.actors import member, person
from tenancy.credentials import client_address, identify, verify_password
from tenancy.errors import NotSignedIn, RateLimited, TenantRefused
from tenancy.models import User
from tenancy.resolution import choose
from tenancy.second_factor import WrongCode, check_code, find_second_factor
from tenancy.sessions import close_session, open_session

if TYPE_CHECKING:
    from tenancy.credentials import Identity
    from tenancy.middleware import SignateRequest

logger = logging.getLogger("signate.sign_in")
DEFAULT_NEXT = "/graphql"
LOGIN, CODE = "tenancy/login.html", "tenancy/code.html"
# What says that a password was right while the code is looked up.
TICKET_SALT = "signate.second-factor.ticket"
TICKET_SECONDS = 300
NEXT_LENGTH = 500  # characters; Django refuses to redirect to what is long once it is quoted


def destination(request: SignateRequest) -> str:
    """Return where to go after signing in: a path of this host, whatever was asked for."""
    wanted = request.POST.get("next") or request.GET.get("next") or DEFAULT_NEXT
    is_path = len(wanted) <= NEXT_LENGTH and wanted[:1] == "/" and wanted[1:2] not in {"/", "\\"}
    if is_path and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None):
        return wanted
    return DEFAULT_NEXT


def sign_in_url(request: SignateRequest) -> str:
    """Return the address of the form, coming back to this request's path."""
    return "/login/?" + urlencode({"next": request.get_full_path()})


def second_factor_url(wanted: str) -> str:
    """Return the address where a second factor is set up, going on to `wanted` afterwards."""
    return f"{reverse('second_factor')}?{urlencode({'next': wanted})}"


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


def refuse_often(
    request: SignateRequest, name: str, context: dict[str, object], error: RateLimited
) -> HttpResponse:
    """Return a page of ours again, saying how long to wait."""
    response = page(request, name, context | {"error": error.message}, 429)
    response["Retry-After"] = str(error.retry_after)
    return response


@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: SignateRequest) -> HttpResponse:
    """Show the form, or start a session and go on to where the person was heading.

    Whoever has a second factor is asked for a code first, with a ticket that says for five minutes
    that the password was right.
    """
    context: dict[str, object] = {
        "next": destination(request),
        "host": request.host.name,
        "username": "",
        "error": "",
        "may_sign_up": settings.SIGN_UP == "open",
    }
    if request.method != "POST":
        return page(request, LOGIN, context, 200)
    username = request.POST.get("username", "")
    context["username"] = username
    try:
        user_id, version = verify_password(
            username, request.POST.get("password", ""), client_address(request)
        )
        identity = _admitted(request, user_id, version)
    except RateLimited as error:
        return refuse_often(request, LOGIN, context, error)
    except NotSignedIn:
        context["error"] = "The username or the password is wrong."
        return page(request, LOGIN, context, 401)
    except TenantRefused as error:
        context["error"] = error.message
        return page(request, LOGIN, context, 403)
    with acting_as(person(user_id), read_only=True):
        factor = find_second_factor(user_id)
    if factor is None or factor.confirmed_at is None:
        return _enter(request, identity)
    context["ticket"] = signing.dumps([str(user_id), version], salt=TICKET_SALT)
    return page(request, CODE, context, 200)


@never_cache
@csrf_protect
@require_POST
def sign_in_code(request: SignateRequest) -> HttpResponse:
    """Take the code of a second factor, and start a session."""
    ticket = request.POST.get("ticket", "")
    context: dict[str, object] = {
        "next": destination(request),
        "host": request.host.name,
        "username": "",
        "error": "",
        "may_sign_up": settings.SIGN_UP == "open",
    }
    try:
        user_id, version = signing.loads(ticket, salt=TICKET_SALT, max_age=TICKET_SECONDS)
        identity = _admitted(request, UUID(user_id), version)
    except (signing.BadSignature, NotSignedIn):
        context["error"] = "That took too long. Sign in again."
        return page(request, LOGIN, context, 401)
    except TenantRefused as error:
        context["error"] = error.message
        return page(request, LOGIN, context, 403)
    context["ticket"] = ticket
    try:
        with acting_as(person(identity.user_id)):
            check_code(identity.user_id, request.POST.get("code", ""), client_address(request))
    except RateLimited as error:
        return refuse_often(request, CODE, context, error)
    except WrongCode as error:
        return page(request, CODE, context | {"error": error.message}, 401)
    return _enter(request, identity)


def _admitted(request: SignateRequest, user_id: UUID, version: int) -> Identity:
    """Return who proved a password.

    Raises NotSignedIn when it has changed since, and TenantRefused for somebody who could do
    nothing on this host but sign out again.
    """
    identity = identify(user_id, version)
    if identity is None:
        message = "Invalid username/password."
        raise NotSignedIn(message)
    choose(request.host, identity.memberships)
    return identity


def _enter(request: SignateRequest, identity: Identity) -> HttpResponse:
    """Start a session and go on, by way of enrolment where the tenant asks for it."""
    with acting_as(person(identity.user_id), read_only=True):
        user = User.objects.get(pk=identity.user_id)
    open_session(request, user, identity.credential_version)
    wanted = destination(request)
    membership, _ = choose(request.host, identity.memberships)
    has_to_enrol = membership is not None and (
        membership.requires_second_factor and not membership.has_second_factor
    )
    came = person(identity.user_id)
    if membership is not None and not has_to_enrol:
        came = member(identity.user_id, membership)
    with acting_as(came.seen(credential="session", address=client_address(request))) as actor:
        note(actor, "account.signed_in")
    if has_to_enrol:
        return HttpResponseRedirect(second_factor_url(wanted))
    return HttpResponseRedirect(wanted)


@never_cache
@csrf_protect
@require_POST
def sign_out(request: SignateRequest) -> HttpResponse:
    """End the session and show the form."""
    close_session(request)
    return HttpResponseRedirect("/login/")


def stale_form(request: SignateRequest, reason: str = "") -> HttpResponse:
    """Say what to do when a form came without its CSRF token (the setting CSRF_FAILURE_VIEW)."""
    logger.warning("refused: %s", reason)
    return page(request, "tenancy/stale_form.html", {}, 403)
