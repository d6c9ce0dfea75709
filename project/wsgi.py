"""The WSGI application; refuses to start where the wall does not stand."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
application = get_wsgi_application()


def _refuse_without_the_wall() -> None:
    from django.core.exceptions import ImproperlyConfigured
    from django.db import connection

    from rls.audit import audit

    findings = audit(connection)
    connection.close()
    if findings:
        lines = "\n".join(map(str, findings))
        message = f"The wall is not as declared; `manage.py audit_rls` says:\n{lines}"
        raise ImproperlyConfigured(message)


_refuse_without_the_wall()
