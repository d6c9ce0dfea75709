"""The addresses that the bytes of uploads are sent to."""

from django.urls import path, re_path

from assets import upload_views

urlpatterns = [
    path("<uuid:upload>", upload_views.upload, name="upload"),
    re_path("", upload_views.no_upload),
]
