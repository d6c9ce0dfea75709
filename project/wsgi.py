"""The WSGI application; refuses to start where the wall does not stand."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
_django = get_wsgi_application()


def _refuse_without_the_wall() -> None:
    from django.db import connection

    from rls.audit import require_wall

    require_wall(connection)


_refuse_without_the_wall()

# Django is set up by now, which the models behind this need.
from project.front import Front  # noqa: E402

application = Front(_django)
