"""What one process hears of Redis: one connection, however many listen.

Called by what keeps sockets open, in its event loop. Redis is a helper: while it is away nothing is
heard and nothing fails, and everybody who listened is told that something may have been missed once
it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("signate.hub")

Hear: TypeAlias = "Callable[[str | None], None]"
"""Is given each message; None says that some may have been missed."""

# Without a message for this long Redis is asked whether it is there; it has as long to answer.
QUIET_SECONDS = 10.0
CONNECT_SECONDS = 2.0
# How long somebody who begins to listen waits for Redis to say that it listens.
READY_SECONDS = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0


@dataclass(slots=True)
class _Channel:
    hearers: dict[Hear, None] = field(default_factory=dict)
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    # Whether somebody began to listen before what was said could be heard.
    may_have_missed: bool = False


class Hub:
    """Channels of Redis, and who listens to them. Belongs to one event loop."""

    def __init__(self, url: str, own_channel: str) -> None:
        """Listen to nothing yet; `own_channel` keeps the connection when nobody else listens."""
        self._url = url
        self._own = own_channel
        self._channels: dict[str, _Channel] = {}
        self._pubsub: Any = None
        self._task: asyncio.Task[None] | None = None

    async def listen(self, channel: str, hear: Hear) -> None:
        """Return once `hear` is called with what is said on `channel`, or Redis is away."""
        known = self._channels.get(channel)
        if known is None:
            known = self._channels[channel] = _Channel()
            self._start()
            await self._ask("subscribe", channel)
        known.hearers[hear] = None
        if not known.is_ready.is_set() and self._url:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(known.is_ready.wait(), READY_SECONDS)
            known.may_have_missed |= not known.is_ready.is_set()

    async def leave(self, channel: str, hear: Hear) -> None:
        """Call `hear` no more."""
        known = self._channels.get(channel)
        if known is None:
            return
        known.hearers.pop(hear, None)
        if not known.hearers:
            del self._channels[channel]
            await self._ask("unsubscribe", channel)

    async def close(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def _start(self) -> None:
        if self._task is None and self._url:
            self._task = asyncio.create_task(self._stay_connected())

    async def _ask(self, name: str, channel: str) -> None:
        # A connection that is not there yet begins with every channel there is.
        if self._pubsub is not None:
            try:
                await getattr(self._pubsub, name)(channel)
            except (RedisError, OSError):
                logger.debug("Redis is away: %s later", name)

    async def _stay_connected(self) -> None:
        pause, is_news = FIRST_PAUSE, True
        while True:
            client = Redis.from_url(
                self._url,
                socket_connect_timeout=CONNECT_SECONDS,
                client_name=self._own,
                # It would connect anew by itself, and nobody would know of what was missed.
                retry=Retry(NoBackoff(), 0),
            )
            try:
                async with client, client.pubsub() as pubsub:
                    await pubsub.subscribe(self._own, *self._channels)
                    self._pubsub = pubsub
                    pause, is_news = FIRST_PAUSE, True
                    await self._hear(pubsub)
            except (RedisError, OSError, TimeoutError) as error:
                if is_news:
                    logger.warning("Redis is away: live updates wait (%s)", type(error).__name__)
                is_news = False
            finally:
                self._pubsub = None
                for channel in self._channels.values():
                    channel.may_have_missed |= channel.is_ready.is_set()
                    channel.is_ready.clear()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _hear(self, pubsub: Any) -> None:
        """Pass on what is said until the connection is lost."""
        is_asked = False
        while True:
            message = await pubsub.get_message(timeout=QUIET_SECONDS)
            if message is None:
                if is_asked:
                    raise TimeoutError
                is_asked = True
                await pubsub.ping()
                continue
            is_asked = False
            name = (message["channel"] or b"").decode()
            known = self._channels.get(name)
            if known is None:
                if message["type"] == "message":
                    # Nobody is left; or somebody came back while the farewell was on its way.
                    continue
            elif message["type"] == "subscribe":
                known.is_ready.set()
                if known.may_have_missed:
                    known.may_have_missed = False
                    _tell(known, None)
            elif message["type"] == "unsubscribe":
                # Somebody began to listen between the farewell and its confirmation.
                await pubsub.subscribe(name)
            elif message["type"] == "message":
                _tell(known, message["data"].decode())


def _tell(channel: _Channel, text: str | None) -> None:
    for hear in list(channel.hearers):
        try:
            hear(text)
        except Exception:
            logger.exception("somebody could not hear")
