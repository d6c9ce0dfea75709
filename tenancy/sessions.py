"""Sessions of browsers: rows that can be listed and ended, each named by a signed cookie.

The cookie (Django's, signed with SECRET_KEY) carries the person and the row's key; the row is what
makes it live. So a request costs one indexed look-up, Redis or not; ending a session is deleting a
row; and neither a dump of the table nor a cookie that somebody kept opens anything by itself.
"""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import SESSION_KEY, login
from django.db import connection
from django.db.models import Case, Func, TextField, Value, When
from django.db.models.functions import Coalesce, Left, NullIf
from django.utils import timezone

from rls import acting_as
from tenancy.account_log import note
from tenancy.actors import person
from tenancy.credentials import client_address, identity_from
from tenancy.errors import NotFound
from tenancy.models import User, UserSession

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import Expression, QuerySet
    from django.http import HttpRequest

    from tenancy.actors import Actor
    from tenancy.credentials import Identity

BACKEND = "tenancy.credentials.PasswordBackend"
# Where the cookie keeps the row's key.
ROW_KEY = "row"
# So often at most a request writes when it was, and from where.
SEEN_EVERY = timedelta(minutes=5)
MOST_SESSIONS = 50  # of one person: the one that was used least lately makes room
_USER_AGENT_LENGTH = 300
_UNSEEMLY = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
# What a browser calls itself, the most particular name first: most claim to be others as well.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("CrOS", "ChromeOS"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


def browser_name(user_agent: str) -> str:
    """Return what people call a browser, `Firefox on Linux`, or the start of what it says."""
    browser = next((name for word, name in _BROWSERS if word in user_agent), "")
    system = next((name for word, name in _SYSTEMS if word in user_agent), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or user_agent[:60] or "Unknown browser"


def browser_name_of(column: str) -> Expression:
    """Return what `browser_name` returns, as an expression over what a browser says of itself."""

    def named(names: Iterable[tuple[str, str]]) -> Expression:
        cases = (When(**{f"{column}__contains": word}, then=Value(name)) for word, name in names)
        return Case(*cases, output_field=TextField())

    browser, system = named(_BROWSERS), named(_SYSTEMS)
    both = Func(
        browser,
        Value(" on "),
        system,
        template="(%(expressions)s)",
        arg_joiner=" || ",
        output_field=TextField(),
    )
    said = NullIf(Left(column, 60), Value(""))
    unknown = Value("Unknown browser")
    return Coalesce(both, browser, system, said, unknown, output_field=TextField())


def network_of(address: str) -> str:
    """Return what an address is part of (`203.0.113.0/24`, a /48): enough to recognise a place."""
    try:
        whole = ip_network(address)
    except ValueError:
        return ""
    mapped = getattr(whole.network_address, "ipv4_mapped", None)
    whole = ip_network(mapped) if mapped else whole
    return str(whole.supernet(new_prefix=24 if whole.version == 4 else 48))


def _named(request: HttpRequest) -> tuple[UUID, UUID] | None:
    """Return the row and the person that the request's cookie names; None for a stranger's."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return None
    try:
        return UUID(str(request.session.get(ROW_KEY))), UUID(str(request.session.get(SESSION_KEY)))
    except ValueError:
        # The answer takes back what is not ours.
        request.session = type(request.session)()
        return None


def session_identity(request: HttpRequest) -> Identity | None:
    """Return who the session cookie belongs to, in one statement; None without a live session."""
    named = _named(request)
    if named is None:
        return None
    row, user_id = named
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT user_id, last_seen_at, username, credential_version, memberships "
            "FROM session_identity_of(%s)",
            [row],
        )
        found = cursor.fetchone()
    if found is None or found[0] != user_id:
        request.session = type(request.session)()
        return None
    if found[1] < timezone.now() - SEEN_EVERY:
        _see(request, user_id, row, found[1])
    return identity_from(user_id, *found[2:], session_id=row)


def _see(request: HttpRequest, user_id: UUID, row: UUID, before: datetime) -> None:
    with acting_as(person(user_id)):
        # Of requests at once, one writes.
        UserSession.objects.filter(pk=row, last_seen_at=before).update(
            last_seen_at=timezone.now(), **_origin(request)
        )


def _origin(request: HttpRequest) -> dict[str, Any]:
    user_agent = _UNSEEMLY.sub(" ", request.headers.get("User-Agent", ""))
    return {
        "user_agent": user_agent[:_USER_AGENT_LENGTH].strip(),
        "network": network_of(client_address(request)),
    }


def open_session(request: HttpRequest, user: User, credential_version: int) -> UUID:
    """Sign the browser in as `user`, whose password or code was proved at `credential_version`.

    Returns the session's key. The session that this browser had before ends.
    """
    close_session(request)
    now = timezone.now()
    with acting_as(person(user.pk)):
        login(request, user, backend=BACKEND)
        mine = UserSession.objects.filter(user_id=user.pk)
        mine.filter(expires_at__lte=now).delete()
        newest = mine.order_by("-last_seen_at", "-pk").values_list("pk", flat=True)
        mine.filter(pk__in=list(newest[MOST_SESSIONS - 1 :])).delete()
        row = UserSession.objects.create(
            user=user,
            credential_version=credential_version,
            expires_at=now + timedelta(seconds=settings.SESSION_COOKIE_AGE),
            **_origin(request),
        )
    request.session[ROW_KEY] = str(row.pk)
    return row.pk


def close_session(request: HttpRequest) -> None:
    """Sign the browser out: its cookie is worth nothing any more, to whoever kept it."""
    named = _named(request)
    if named is not None:
        row, user_id = named
        with acting_as(person(user_id)):
            UserSession.objects.filter(pk=row).delete()
    request.session.flush()


def live_sessions(*, actor: Actor) -> QuerySet[UserSession]:
    """Return the person's sessions that open something."""
    return sessions_of(actor.oneself(), timezone.now())


def sessions_of(user_id: Any, now: Any) -> QuerySet[UserSession]:
    """Return the sessions of a person that open something at `now`."""
    version = User.objects.filter(pk=user_id).values("credential_version")
    return UserSession.objects.filter(
        user_id=user_id, expires_at__gt=now, credential_version__in=version
    )


def is_live(*, actor: Actor, session: UUID) -> bool:
    """Return whether that is a session of the person's own which opens something."""
    return live_sessions(actor=actor).filter(pk=session).exists()


def end_session(*, actor: Actor, session: UUID) -> None:
    """End one session of the person's own; raises NotFound where there is none of that key."""
    count, _ = UserSession.objects.filter(user_id=actor.oneself(), pk=session).delete()
    if not count:
        message = "There is no such session, or it has ended."
        raise NotFound(message, field=("id",))
    note(actor, "account.session_ended")


def end_other_sessions(*, actor: Actor, keep: UUID | None) -> int:
    """End every session of the person's own but `keep`; return how many that were."""
    live = live_sessions(actor=actor)
    ended = (live.exclude(pk=keep) if keep else live).count()
    mine = UserSession.objects.filter(user_id=actor.oneself())
    (mine.exclude(pk=keep) if keep else mine).delete()
    if ended:
        note(actor, "account.other_sessions_ended")
    return ended
