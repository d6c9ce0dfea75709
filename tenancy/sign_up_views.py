"""The pages of making an account, and of invitations. No scripts; nothing is decided here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from tenancy import invitations, sign_up
from tenancy.actors import ANONYMOUS
from tenancy.credentials import client_address, identify
from tenancy.errors import Conflict, DomainError, Invalid, InvalidInput, NotFound, RateLimited
from tenancy.recovery_views import notice
from tenancy.sessions import open_session
from tenancy.views import page, refuse_often, sign_in_url

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpResponse

    from tenancy.middleware import SignateRequest
    from tenancy.models import Membership

SIGN_UP = "tenancy/sign_up.html"
NEW_ACCOUNT = "tenancy/new_account.html"
INVITATION = "tenancy/invitation.html"
WELCOME = "tenancy/welcome.html"


def _status_of(error: DomainError) -> int:
    if isinstance(error, Conflict):
        return 409
    return 400 if isinstance(error, (Invalid, InvalidInput)) else 403


@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def request_sign_up(request: SignateRequest) -> HttpResponse:
    """Ask for an address, and have a link mailed to it that makes an account."""
    if not sign_up.is_open():
        return notice(
            request,
            "Accounts are made by invitation",
            "Ask somebody of the tenant you want to join to invite you.",
            404,
        )
    context: dict[str, object] = {"email": request.POST.get("email", ""), "error": ""}
    if request.method != "POST":
        return page(request, SIGN_UP, context, 200)
    try:
        sign_up.request_sign_up(str(context["email"]), client_address(request))
    except RateLimited as error:
        return refuse_often(request, SIGN_UP, context, error)
    except InvalidInput as error:
        return page(request, SIGN_UP, context | {"error": error.message}, 400)
    return notice(
        request,
        "Look into your mailbox",
        "A link to go on is on its way. It is good for a day.",
    )


@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def make_account(request: SignateRequest) -> HttpResponse:
    """Take name and password of the account that a mailed link makes, and sign it in."""
    token = request.POST.get("token") or request.GET.get("token", "")
    email = sign_up.find_sign_up(token)
    if email is None:
        return _over(request)
    context = _form(request) | {"token": token, "email": email}
    if request.method != "POST":
        return page(request, NEW_ACCOUNT, context, 200)
    if _differ(request):
        context["error"] = "The two passwords are not the same."
        return page(request, NEW_ACCOUNT, context, 400)
    try:
        user = sign_up.sign_up(
            token, username=str(context["username"]), password=request.POST.get("new_password", "")
        )
    except NotFound:
        return _over(request)
    except DomainError as error:
        return page(request, NEW_ACCOUNT, context | {"error": error.message}, _status_of(error))
    open_session(request, user, user.credential_version)
    return page(request, WELCOME, {"tenant_url": "", "tenant_name": ""}, 200)


def _form(request: SignateRequest) -> dict[str, object]:
    return {"username": request.POST.get("username", ""), "error": ""}


def _differ(request: SignateRequest) -> bool:
    return request.POST.get("new_password", "") != request.POST.get("repeated", "")


def _over(request: SignateRequest) -> HttpResponse:
    return notice(
        request,
        "This link is over",
        "It was used, or it is too old. Sign in, or ask for a new one.",
        404,
    )


@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: SignateRequest, token: str) -> HttpResponse:
    """Show an invitation; accept it, with an account that is made for it if need be, or decline."""
    offer = invitations.find_invitation(token)
    if offer is None:
        return _no_invitation(request)
    user_id = request.actor.user_id if request.credential == "session" else None
    identity = identify(user_id) if user_id else None
    context = _form(request) | {
        "offer": offer,
        "account": identity.username if identity else "",
        "may_sign_up": sign_up.is_open_to_invited(),
        "sign_in_url": sign_in_url(request),
    }
    if request.method != "POST":
        return page(request, INVITATION, context, 200)
    if request.POST.get("step") == "sign_up" and _differ(request):
        context["error"] = "The two passwords are not the same."
        return page(request, INVITATION, context, 400)
    try:
        return _answered(request, token, user_id, offer)
    except NotFound:
        return _no_invitation(request)
    except DomainError as error:
        return page(request, INVITATION, context | {"error": error.message}, _status_of(error))


def _answered(
    request: SignateRequest, token: str, user_id: UUID | None, offer: invitations.Offer
) -> HttpResponse:
    """Do what was chosen; raises what the invitation's functions raise."""
    step = request.POST.get("step")
    if step == "decline":
        holder = ANONYMOUS.seen(address=client_address(request))
        invitations.decline_invitation(actor=request.actor if user_id else holder, token=token)
        return notice(request, "Declined", "The invitation is over.")
    if step == "accept" and user_id is not None:
        membership = invitations.accept_invitation(actor=request.actor, token=token)
        return _welcome(request, user_id, membership, offer.tenant_name)
    if step == "sign_up" and user_id is None:
        user, membership = sign_up.sign_up_invited(
            token,
            username=request.POST.get("username", ""),
            password=request.POST.get("new_password", ""),
            address=client_address(request),
        )
        open_session(request, user, user.credential_version)
        return _welcome(request, user.pk, membership, offer.tenant_name)
    message = "Accept the invitation, or decline it."
    raise InvalidInput(message)


def _welcome(
    request: SignateRequest, user_id: UUID, membership: Membership, tenant_name: str
) -> HttpResponse:
    identity = identify(user_id)
    slugs = [m.slug for m in identity.memberships if m.id == membership.pk] if identity else []
    port = f":{settings.SITE_PORT}" if settings.SITE_PORT else ""
    urls = [f"{settings.SITE_SCHEME}://{slug}.{settings.PLATFORM_DOMAIN}{port}/" for slug in slugs]
    context: dict[str, object] = {"tenant_url": "".join(urls), "tenant_name": tenant_name}
    return page(request, WELCOME, context, 200)


def _no_invitation(request: SignateRequest) -> HttpResponse:
    return notice(
        request,
        "This invitation is over",
        "It was used, taken back, or is too old. Ask whoever invited you for a new one.",
        404,
    )
