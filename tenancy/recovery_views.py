"""The pages of a forgotten password. No scripts; they tell nobody whether there is an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from tenancy import recovery
from tenancy.credentials import client_address
from tenancy.errors import InvalidInput, NotFound, RateLimited
from tenancy.views import page, refuse_often

if TYPE_CHECKING:
    from django.http import HttpResponse

    from tenancy.middleware import SignateRequest

RESET = "tenancy/reset.html"
NEW_PASSWORD = "tenancy/reset_password.html"  # noqa: S105 -- a template
NOTICE = "tenancy/notice.html"


def notice(request: SignateRequest, title: str, text: str, status: int = 200) -> HttpResponse:
    """Return a page that says one thing, and leads to the sign-in form."""
    return page(request, NOTICE, {"title": title, "text": text}, status)


@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def request_reset(request: SignateRequest) -> HttpResponse:
    """Ask for the address, and have a link mailed to whoever has an account with it."""
    context: dict[str, object] = {"email": request.POST.get("email", ""), "error": ""}
    if request.method != "POST":
        return page(request, RESET, context, 200)
    try:
        recovery.request_reset(str(context["email"]), client_address(request))
    except RateLimited as error:
        return refuse_often(request, RESET, context, error)
    except InvalidInput as error:
        return page(request, RESET, context | {"error": error.message}, 400)
    return notice(
        request,
        "Look into your mailbox",
        "If there is an account with this address, a link to set a new password is on its way. It "
        "is good for an hour. Nothing came? Then your account has another address, or none: ask "
        "whoever runs this service.",
    )


@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def reset_password(request: SignateRequest) -> HttpResponse:
    """Take the new password that goes with a mailed link."""
    token = request.POST.get("token") or request.GET.get("token", "")
    identity = recovery.find_reset(token)
    if identity is None:
        return _over(request)
    context: dict[str, object] = {"token": token, "username": identity.username, "error": ""}
    if request.method != "POST":
        return page(request, NEW_PASSWORD, context, 200)
    password = request.POST.get("new_password", "")
    if password != request.POST.get("repeated", ""):
        context["error"] = "The two passwords are not the same."
        return page(request, NEW_PASSWORD, context, 400)
    try:
        recovery.reset_password(token, password, client_address(request))
    except NotFound:
        return _over(request)
    except InvalidInput as error:
        return page(request, NEW_PASSWORD, context | {"error": error.message}, 400)
    return notice(
        request,
        "Your password is new",
        "Wherever you were signed in, you no longer are. Sign in with the new password.",
    )


def _over(request: SignateRequest) -> HttpResponse:
    return notice(
        request, "This link is over", "It was used, or it is older than an hour. Ask anew.", 404
    )
