"""The addresses of media."""

from django.urls import path, re_path

from assets import views

urlpatterns = [
    path("<uuid:tenant>/<uuid:asset>/<str:variant>", views.media, name="media"),
    re_path("", views.no_media),
]
