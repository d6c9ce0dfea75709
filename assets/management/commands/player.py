"""`manage.py player`: a small player without a screen, to see the whole loop on one machine.

Comes in with a device's secret, or shows a code that somebody types (`pairDevice`). Prints what it
shows. Needs the address of a server, and nothing of this one's database.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import queue
import random
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from assets.reference_player import Player, Reply, ServerAway, now_utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from django.core.management.base import CommandParser

TIMEOUT_SECONDS = 20
CHUNK = 65_536
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0

logger = logging.getLogger("signate.player")


class HttpServer:
    """A server at an address, asked as one device."""

    def __init__(self, url: str, secret: str = "") -> None:
        """Keep where it is; raises CommandError for what is no address of the web."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            message = "--url is an http:// or https:// address, such as https://acme.example.com."
            raise CommandError(message)
        self.parts = parts
        self.secret = secret

    def ask(
        self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Return the answer; raises ServerAway."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        if self.secret:
            sent["Authorization"] = f"Bearer {self.secret}"
        is_tls = self.parts.scheme == "https"
        kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        connection = kind(str(self.parts.hostname), self.parts.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ServerAway(str(error)) from error
        names = {name.lower(): value for name, value in response.getheaders()}
        chunks: Iterable[bytes] = _chunks(connection, response)
        if response.status != 200:
            # Nobody may read it, and the connection would stay open.
            chunks = list(chunks)
        return Reply(response.status, names, chunks)


def _chunks(
    connection: http.client.HTTPConnection, response: http.client.HTTPResponse
) -> Iterator[bytes]:
    try:
        while chunk := response.read(CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise ServerAway(str(error)) from error
    finally:
        connection.close()


class Ear(threading.Thread):
    """Listens on `/ws` and connects again when it has to; `heard` has what was said.

    None is heard when a connection is lost.
    """

    def __init__(self, server: HttpServer) -> None:
        """Listen to nothing yet."""
        super().__init__(daemon=True)
        self.heard: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        scheme = "wss" if server.parts.scheme == "https" else "ws"
        self._url = f"{scheme}://{server.parts.netloc}/ws"
        self._headers = {"Authorization": f"Bearer {server.secret}"}
        self._ended = threading.Event()

    def run(self) -> None:
        """Listen until it is ended."""
        pause = FIRST_PAUSE
        while not self._ended.is_set():
            try:
                with connect(
                    self._url, additional_headers=self._headers, open_timeout=TIMEOUT_SECONDS
                ) as line:
                    logger.info("listening")
                    pause = FIRST_PAUSE
                    while not self._ended.is_set():
                        with contextlib.suppress(TimeoutError):
                            self.heard.put(str(line.recv(timeout=1)))
            except (OSError, WebSocketException) as error:
                logger.info("not listening: %s", error)
            self.heard.put(None)
            # A thousand players must not come back in the same moment.
            self._ended.wait(pause * random.uniform(0.5, 1.5))  # noqa: S311 -- no secret
            pause = min(2 * pause, LONGEST_PAUSE)

    def end(self) -> None:
        """Listen no longer."""
        self._ended.set()

    def hear(self, seconds: float) -> Iterator[str | None]:
        """Wait so long for something to be said; yield all of it."""
        try:
            yield self.heard.get(timeout=seconds)
            while True:
                yield self.heard.get_nowait()
        except queue.Empty:
            return


class Command(BaseCommand):
    """Play until told to stop."""

    help = "Plays a tenant's playlist without a screen: for a look at the whole loop"
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Offer where the server is and where to keep things."""
        parser.add_argument("--url", required=True, help="where the tenant is")
        parser.add_argument(
            "--folder", type=Path, default=Path(".local/player"), help="(default: %(default)s)"
        )
        parser.add_argument(
            "--secret-file", type=Path, help="where the device's secret is (default: it is paired)"
        )
        parser.add_argument(
            "--seconds", type=float, help="end after so long (default: when told to)"
        )

    def handle(self, *, url: str, folder: Path, seconds: float | None, **options: Any) -> None:
        """Play; CommandError says why that is not possible."""
        logging.getLogger("signate.player").setLevel(logging.INFO)
        folder.mkdir(parents=True, exist_ok=True)
        ends = None if seconds is None else time.monotonic() + seconds
        server = HttpServer(url)
        # What it was paired with once is in its folder.
        kept: Path = options["secret_file"] or folder / "secret"
        try:
            server.secret = kept.read_text().strip() if kept.is_file() else ""
            if not server.secret:
                server.secret = self._paired(server, ends)
                kept.touch(mode=0o600)
                kept.write_text(server.secret)
        except ServerAway as error:
            message = f"The server is away: {error}"
            raise CommandError(message) from error
        player, ear = Player(folder, server), Ear(server)
        ear.start()
        try:
            while not player.wants_to_end and (ends is None or time.monotonic() < ends):
                for text in ear.hear(min(player.tick(now_utc()), 1.0)):
                    player.hear(text, now_utc())
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        finally:
            ear.end()
        if player.wants_to_end:
            self.stdout.write(f"Told to {player.wants_to_end}.")

    def _paired(self, server: HttpServer, ends: float | None) -> str:
        """Return the secret that somebody gave this player by typing its code."""
        started = server.ask("POST", "/api/v2/pair", body={})
        answer = started.json()
        if started.status != 201:
            message = f"The server gives no code: {answer}"
            raise CommandError(message)
        self.stdout.write(f"Type this code in pairDevice: {answer['code']}")
        self.stdout.flush()
        while ends is None or time.monotonic() < ends:
            reply = server.ask("POST", "/api/v2/pair", body={"secret": answer["secret"]})
            found = reply.json()
            if reply.status == 200:
                return str(found["secret"])
            if reply.status != 202:
                message = f"The pairing is over: {found.get('error')}"
                raise CommandError(message)
            time.sleep(answer["interval"])
        message = "Nobody typed the code."
        raise CommandError(message)
