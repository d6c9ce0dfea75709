"""Every address of the service, and what answers when something fails."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import include, path, re_path

from assets.legacy.pages import no_page
from assets.share_views import no_share, share
from graph.view import graphql
from tenancy.admin import site as operators


def home(request: HttpRequest) -> HttpResponse:
    """Send people who open the bare address to GraphiQL."""
    del request
    return HttpResponseRedirect("/graphql")


def healthz(request: HttpRequest) -> HttpResponse:
    """Say that this process lives; touches nothing else."""
    del request
    return HttpResponse("ok\n", content_type="text/plain")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer an internal failure with the request's id and nothing else."""
    return JsonResponse(
        {
            "error": "Internal error",
            "message": "Something failed on our side. Quote the request id when you report it.",
            "code": "INTERNAL",
            "request_id": getattr(request, "id", "-"),
        },
        status=500,
    )


handler500 = server_error

urlpatterns = [
    path("", home),
    path("graphql", graphql, name="graphql"),
    path("", include("tenancy.account_urls")),
    path("admin/", operators.urls),
    path("healthz", healthz),
    path("media/", include("assets.urls")),
    path("share/<str:token>", share, name="share"),
    re_path("^share/", no_share),
    # Before the addresses of assets, which answer for everything else below /api.
    path("", include("assets.legacy.device_urls")),
    path("", include("assets.legacy.backup_urls")),
    path("", include("assets.legacy.schema_urls")),
    path("api", no_page),
    path("api/", include("assets.legacy.urls")),
    path("uploads/", include("assets.upload_urls")),
]
