"""What a process answers: requests by the WSGI application, sockets by their path.

Made once Django is set up: by project.asgi, and by `manage.py sockets`, which has sockets alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpResponse

from assets.legacy.socket import LegacySocket
from graph.socket import GraphSocket
from project.bridge import Bridge
from tenancy.sockets import Gate, Socket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import TypeAlias
    from wsgiref.types import WSGIApplication

    from tenancy.sockets import Receive, Scope, Send

    Endpoint: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Sockets:
    """Serves sockets by their path, between `start` and `stop`."""

    def __init__(self) -> None:
        """Take none yet."""
        self._gate: Gate | None = None
        self._sockets: Mapping[str, Endpoint] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket."""
        endpoint = self._sockets.get(scope["path"])
        if endpoint is None:
            await Socket(scope, receive, send, most=0).refuse(HttpResponse(status=404))
        else:
            await endpoint(scope, receive, send)

    async def start(self) -> None:
        """Take sockets from now on, in the running event loop."""
        self._gate = gate = Gate()
        self._sockets = {"/ws": LegacySocket(gate), "/graphql": GraphSocket(gate)}

    async def stop(self) -> None:
        """Take no more, and hang up on those there are."""
        self._sockets = {}
        if self._gate is not None:
            await self._gate.close()


class Application(Sockets):
    """An ASGI application: requests too, and sockets for as long as its lifespan is."""

    def __init__(self, requests: WSGIApplication) -> None:
        """Answer requests by `requests`."""
        super().__init__()
        self._http = Bridge(requests, settings.ASGI_THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, serve a socket, or live as long as the server does."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await super().__call__(scope, receive, send)
        else:
            await self._live(receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})
