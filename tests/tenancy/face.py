"""A face that says what the middleware found out; served beside the project's own addresses.

Tests of the stack use it (`pytest.mark.urls`), so that they know exactly who was let in as what.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from tenancy.credentials import csrf_refusal
from tenancy.errors import DomainError
from tenancy.middleware import SignateRequest, refusal


def who(request: SignateRequest) -> HttpResponse:
    actor = request.actor
    if hasattr(request, "refusal"):
        # What an endpoint of the legacy API does.
        return refusal(request.refusal, request)
    return JsonResponse(
        {
            "kind": actor.kind,
            "user": actor.user_id,
            "tenant": actor.tenant_id,
            "role": actor.role,
            "credential": request.credential,
        }
    )


def entered(request: SignateRequest) -> HttpResponse:
    """Do what a door does that needs a tenant."""
    try:
        return JsonResponse({"tenant": request.actor.entered()})
    except DomainError as error:
        return refusal(error, request)


@csrf_exempt
def write(request: HttpRequest) -> HttpResponse:
    """Do what the GraphQL view does before it writes on the word of a cookie."""
    reason = csrf_refusal(request)
    return JsonResponse({"reason": reason}, status=403 if reason else 200)


def broken(_request: HttpRequest) -> HttpResponse:
    message = "ACME-MARK password=hunter2 in a failure"
    raise RuntimeError(message)


def away(request: HttpRequest) -> HttpResponse:
    from django.db import InterfaceError, OperationalError

    errors: dict[str, type[Exception]] = {"o": OperationalError, "i": InterfaceError}
    raise errors[request.GET["which"]]


urlpatterns: list[Any] = [
    path("who", who),
    path("api/who", who),
    path("entered", entered),
    path("write", write),
    path("broken", broken),
    path("away", away),
    path("", include("project.urls")),
]
handler500 = "project.urls.server_error"
