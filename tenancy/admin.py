"""Django's admin site, for members of staff: the registry, to look at.

On the platform's own host only, with a session and a second factor. It writes nothing: operators
act by commands, with a reason (docs/decisions/operators.md).
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import Http404, HttpResponseRedirect
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from rls import acting_as
from tenancy.actors import person
from tenancy.models import User
from tenancy.registry import RegisteredPerson, RegisteredTenant
from tenancy.resolution import HostKind
from tenancy.second_factor import find_second_factor
from tenancy.views import second_factor_url, sign_in_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern, URLResolver

    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


class OperatorSite(admin.AdminSite):
    """Signate's only admin site."""

    site_header = site_title = "Signate operators"
    index_title = "Registry"
    site_url = None
    index_template = "tenancy/operators_index.html"
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        """Return whether a member of staff asks; `admin_view` has looked."""
        user = getattr(request, "user", None)
        return bool(user is not None and user.is_active and user.is_staff)

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Callable[..., Any]:  # noqa: FBT001, FBT002 -- as Django spells it
        """Return the view inside the operator's own door; everybody else finds nothing here."""
        del cacheable

        @never_cache
        @require_safe
        @wraps(view)
        def inner(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.host.kind is not HostKind.PLATFORM:
                raise Http404
            if request.credential != "session":
                return HttpResponseRedirect(sign_in_url(request))
            user_id = request.actor.user_id
            with acting_as(person(user_id), read_only=True):
                request.user = User.objects.get(pk=user_id)
                if not self.has_permission(request):
                    raise Http404
                second = find_second_factor(user_id)
                if second is None or second.confirmed_at is None:
                    return HttpResponseRedirect(second_factor_url(request.path))
                response = view(request, *args, **kwargs)
                if hasattr(response, "render"):
                    response.render()
                made: HttpResponse = response
                return made

        return inner

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Return the index and the lists: nothing else of an admin site is for looking."""
        label = RegisteredTenant._meta.app_label
        urls: list[URLPattern | URLResolver] = [
            path("", self.admin_view(self.index), name="index"),
            path(
                f"{label}/",
                self.admin_view(self.app_index),
                {"app_label": label},
                name="app_list",
            ),
        ]
        for model, model_admin in self._registry.items():
            names = {"changelist": "", "change": "<uuid:object_id>/change/"}
            views = {"changelist": model_admin.changelist_view, "change": model_admin.change_view}
            urls += [
                path(
                    f"{model._meta.model_name}/{names[name]}",
                    self.admin_view(views[name]),
                    name=f"{model._meta.app_label}_{model._meta.model_name}_{name}",
                )
                for name in names
            ]
        return urls


class Shown(ModelAdmin):
    """A list and its rows, to look at."""

    change_form_template = "tenancy/operators_row.html"
    list_per_page = 50
    show_full_result_count = False
    actions = None

    def change_view(
        self, request: HttpRequest, object_id: object, *args: Any, **kwargs: Any
    ) -> Any:
        """Return the page of one row."""
        return super().change_view(request, str(object_id), *args, **kwargs)

    def has_add_permission(self, _request: HttpRequest) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Return False."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Return False."""
        return False

    def has_view_permission(self, request: HttpRequest, _obj: Any = None) -> bool:
        """Return whether a member of staff asks."""
        return self.admin_site.has_permission(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return whether a member of staff asks."""
        return self.admin_site.has_permission(request)


class TenantAdmin(Shown):
    """Tenants from outside."""

    list_display = (
        *("slug", "name", "subscription_tier", "is_active", "domain", "created_at"),
        "deletes_at",
    )
    list_filter = ("is_active", "subscription_tier")
    search_fields = ("slug", "name", "domain")


class PersonAdmin(Shown):
    """People, without secrets."""

    list_display = ("username", "email", "is_active", "is_staff", "date_joined", "last_login")
    list_filter = ("is_active", "is_staff")
    search_fields = ("username", "email", "first_name", "last_name")


site = OperatorSite(name="admin")
site.register(RegisteredTenant, TenantAdmin)
site.register(RegisteredPerson, PersonAdmin)
