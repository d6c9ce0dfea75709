"""Where the OpenAPI document is: to be included at the root, before the addresses of assets.

With a slash at its end too, which is where Anthias has it.
"""

from __future__ import annotations

from django.urls import path

from assets.legacy.openapi import SCHEMA
from assets.legacy.shapes import V2

urlpatterns = [path(where, SCHEMA, {"version": V2}) for where in ("api/schema", "api/schema/")]
