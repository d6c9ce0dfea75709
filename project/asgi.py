"""The ASGI application: sockets, and the requests of project.wsgi for whoever has one address only.

Served by one granian process beside those of project.wsgi, which a proxy gives `/ws` to; alone by
`manage.py demo`. Refuses to start where the wall does not stand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from project.wsgi import application as requests

if TYPE_CHECKING:
    from project.application import Application


def _application() -> Application:
    # It can be imported only now that Django is set up.
    from project.application import Application

    return Application(requests)


application = _application()
