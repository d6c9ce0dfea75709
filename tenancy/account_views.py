"""The pages of a person's own account: second factor, password, sessions. No scripts.

Only for browsers that signed in. Each form says the password again where what it does could lock
somebody out; nothing is decided here but what is shown.
"""

from __future__ import annotations

from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from rls import acting_as
from tenancy import accounts, email_addresses, second_factor, sessions
from tenancy.errors import DomainError, NotFound, RateLimited
from tenancy.models import User
from tenancy.recovery_views import notice
from tenancy.views import destination, page, refuse_often, sign_in_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpResponse

    from tenancy.middleware import SignateRequest

    View = Callable[..., HttpResponse]

ACCOUNT = "tenancy/account.html"
SECOND_FACTOR = "tenancy/second_factor.html"
RECOVERY_CODES = "tenancy/recovery_codes.html"
EMAIL = "tenancy/email.html"
CONFIRM_EMAIL = "tenancy/confirm_email.html"
PASSWORD = "tenancy/password.html"  # noqa: S105 -- a template


def for_people(view: View) -> View:
    """Send whoever has not signed in with this browser to the form, and back."""

    @never_cache
    @csrf_protect
    @wraps(view)
    def asked(request: SignateRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.credential != "session":
            return HttpResponseRedirect(sign_in_url(request))
        return view(request, *args, **kwargs)

    return asked


@for_people
@require_safe
def account(request: SignateRequest) -> HttpResponse:
    """Show who one is, the second factor and the sessions."""
    return page(request, ACCOUNT, _overview(request), 200)


def _overview(request: SignateRequest) -> dict[str, object]:
    actor = request.actor
    user_id = actor.oneself()
    with acting_as(actor, read_only=True):
        factor = second_factor.find_second_factor(user_id)
        rows = list(sessions.live_sessions(actor=actor).order_by("-last_seen_at"))
        person = User.objects.get(pk=user_id)
    return {
        "person": person,
        "factor": factor if factor and factor.confirmed_at else None,
        "sessions": [
            {
                "id": row.pk,
                "browser": sessions.browser_name(row.user_agent),
                "network": row.network,
                "last_seen_at": row.last_seen_at,
                "created_at": row.created_at,
                "is_current": row.pk == request.session_id,
            }
            for row in rows
        ],
        "next": destination(request),
    }


@for_people
@require_POST
def end_session(request: SignateRequest) -> HttpResponse:
    """End one of the person's sessions, or all but this one."""
    actor = request.actor
    with acting_as(actor):
        if "others" in request.POST:
            sessions.end_other_sessions(actor=actor, keep=request.session_id)
        else:
            # One that is not there has ended already, which is what was asked for.
            with suppress(ValueError, NotFound):
                sessions.end_session(actor=actor, session=UUID(request.POST.get("session", "")))
    return HttpResponseRedirect(reverse("account"))


@for_people
@require_http_methods(["GET", "HEAD", "POST"])
def change_password(request: SignateRequest) -> HttpResponse:
    """Show the form, or change the password; every other session ends."""
    context: dict[str, object] = {"error": ""}
    if request.method != "POST":
        return page(request, PASSWORD, context, 200)
    new = request.POST.get("new_password", "")
    if new != request.POST.get("repeated", ""):
        context["error"] = "The two new passwords are not the same."
        return page(request, PASSWORD, context, 400)
    actor = request.actor

    def change() -> None:
        accounts.change_password(
            actor=actor,
            current=request.POST.get("current_password", ""),
            new=new,
            keep=request.session_id,
        )

    return _attempt(request, PASSWORD, context, change) or HttpResponseRedirect(reverse("account"))


@for_people
@require_http_methods(["GET", "HEAD", "POST"])
def change_email(request: SignateRequest) -> HttpResponse:
    """Show the form, or have a link mailed to the new address."""
    actor = request.actor
    email = request.POST.get("email", "")
    context: dict[str, object] = {"email": email, "error": ""}
    if request.method != "POST":
        return page(request, EMAIL, context, 200)

    def ask() -> None:
        email_addresses.request_email_change(
            actor=actor, password=request.POST.get("password", ""), email=email
        )

    return _attempt(request, EMAIL, context, ask) or notice(
        request,
        "Look into your mailbox",
        f"A link went to {email}. Open it in this browser within a day; until then your address "
        "stays what it is.",
    )


@for_people
@require_http_methods(["GET", "HEAD", "POST"])
def confirm_email(request: SignateRequest) -> HttpResponse:
    """Show a button, since programs open links too; and take the new address."""
    token = request.POST.get("token") or request.GET.get("token", "")
    context: dict[str, object] = {"token": token, "error": ""}
    if request.method != "POST":
        return page(request, CONFIRM_EMAIL, context, 200)

    def confirm() -> None:
        email_addresses.confirm_email(actor=request.actor, token=token)

    return _attempt(request, CONFIRM_EMAIL, context, confirm) or HttpResponseRedirect(
        reverse("account")
    )


def _attempt(
    request: SignateRequest, name: str, context: dict[str, object], write: Callable[[], None]
) -> HttpResponse | None:
    """Return None when `write` succeeded in a door of the person, and otherwise the page again."""
    try:
        with acting_as(request.actor):
            write()
    except RateLimited as error:
        return refuse_often(request, name, context, error)
    except DomainError as error:
        return page(request, name, context | {"error": error.message}, 400)
    return None


@for_people
@require_http_methods(["GET", "HEAD", "POST"])
def set_up_second_factor(request: SignateRequest) -> HttpResponse:
    """Show what there is; or begin, confirm, switch off, or make new recovery codes."""
    steps = {
        "begin": _begin,
        "confirm": _confirm,
        "disable": _disable,
        "regenerate": _regenerate,
    }
    step = steps.get(request.POST.get("step", "")) if request.method == "POST" else None
    if step is None:
        return page(request, SECOND_FACTOR, _factor(request), 200)
    return step(request)


def _factor(request: SignateRequest, *, begun: bool = False) -> dict[str, object]:
    """Return what the page shows; the secret only right after the password was said."""
    actor = request.actor
    with acting_as(actor, read_only=True):
        row = second_factor.find_second_factor(actor.oneself())
        enrolment = second_factor.begun_second_factor(actor=actor) if begun else None
    return {
        "factor": row if row and row.confirmed_at else None,
        "codes_left": len(row.recovery_digests) if row else 0,
        "enrolment": enrolment,
        # Ours to the last byte: the library draws it of a URI that is percent-encoded.
        "qr": mark_safe(enrolment.svg) if enrolment else "",  # noqa: S308
        "next": destination(request),
        "error": "",
    }


def _prove(request: SignateRequest) -> None:
    accounts.prove_password(
        actor=request.actor,
        password=request.POST.get("password", ""),
    )


def _begin(request: SignateRequest) -> HttpResponse:
    def begin() -> None:
        _prove(request)
        second_factor.begin_second_factor(actor=request.actor)

    refused = _attempt(request, SECOND_FACTOR, _factor(request), begin)
    return refused or page(request, SECOND_FACTOR, _factor(request, begun=True), 200)


def _confirm(request: SignateRequest) -> HttpResponse:
    codes: list[str] = []

    def confirm() -> None:
        codes.extend(
            second_factor.confirm_second_factor(
                actor=request.actor,
                code=request.POST.get("code", ""),
                keep=request.session_id,
            )
        )

    refused = _attempt(request, SECOND_FACTOR, _factor(request, begun=True), confirm)
    return refused or _shown(request, codes)


def _disable(request: SignateRequest) -> HttpResponse:
    def disable() -> None:
        _prove(request)
        second_factor.disable_second_factor(
            actor=request.actor,
            code=request.POST.get("code", ""),
            keep=request.session_id,
        )

    refused = _attempt(request, SECOND_FACTOR, _factor(request), disable)
    return refused or HttpResponseRedirect(reverse("account"))


def _regenerate(request: SignateRequest) -> HttpResponse:
    codes: list[str] = []

    def regenerate() -> None:
        _prove(request)
        codes.extend(
            second_factor.regenerate_recovery_codes(
                actor=request.actor,
                code=request.POST.get("code", ""),
            )
        )

    refused = _attempt(request, SECOND_FACTOR, _factor(request), regenerate)
    return refused or _shown(request, codes)


def _shown(request: SignateRequest, codes: list[str]) -> HttpResponse:
    context: dict[str, object] = {"codes": codes, "next": destination(request)}
    return page(request, RECOVERY_CODES, context, 200)
