"""Share links as GraphQL shows them: on their asset, and only to who may make them.

Reads only; graph.sharing has the writes. What lists of assets tell of links is an expression of
their one statement; a link itself is read together with those of its page.
"""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

import strawberry
from django.db.models import (
    BigIntegerField,
    BooleanField,
    DateTimeField,
    Exists,
    ExpressionWrapper,
    F,
    OuterRef,
    Subquery,
    Value,
)
from django.db.models.functions import Coalesce

from assets import models
from assets.sharing import open_q, share_url
from graph.columns import Related, part, resolved
from graph.context import Info, people
from graph.members import User
from graph.scalars import BigInt

_LINKS = models.ShareLink.objects.filter(tenant=OuterRef("tenant"), asset=OuterRef("pk"))
_CURRENT = _LINKS.filter(revoked_at=None)
IS_SHARED = ExpressionWrapper(Exists(_LINKS.filter(open_q())), output_field=BooleanField())
SHARE_EXPIRES_AT = ExpressionWrapper(
    Subquery(_CURRENT.values("expires_at")[:1]), output_field=DateTimeField(null=True)
)
ACCESS_COUNT = Coalesce(
    Subquery(_CURRENT.values("access_count")[:1]), Value(0), output_field=BigIntegerField()
)


@strawberry.type(
    description="A link that shows one asset to whoever has it. An asset has one at most."
)
class ShareLink:
    """An unrevoked `assets.models.ShareLink`; never what is kept of its token or password."""

    row: strawberry.Private[models.ShareLink]

    is_open: bool = part(
        "Whether it can be opened right now: neither expired nor used up.",
        sql=lambda _: F("is_open"),
    )
    expires_at: datetime = part("When it ends, or did.", sql=lambda _: F("expires_at"))
    max_views: BigInt | None = part(
        "How often it can be opened in all; null for as often as anybody likes.",
        sql=lambda _: F("max_views"),
    )
    access_count: BigInt = part("How often it was opened.", sql=lambda _: F("access_count"))
    last_accessed_at: datetime | None = part(
        "When it was last opened; null when it never was.", sql=lambda _: F("last_accessed_at")
    )
    has_password: bool = part("Whether it asks for a password.", sql=lambda _: F("has_password"))
    created_at: datetime = part("When it was made.", sql=lambda _: F("created_at"))

    @resolved(
        "Its address: `https://acme.signage.app/share/…`. Null when the server's secret key was "
        "changed since it was made: then the address still opens it, and cannot be told again."
    )
    def url(self, info: Info) -> str | None:
        """Make the token anew; the entered tenant is read once, and not once per link."""
        self.row.tenant = info.context.tenant
        return share_url(self.row)

    @resolved(
        "Who made it; null for somebody who has left the tenant.",
        reads=Related("created_by_id", people),
    )
    def created_by(self, info: Info) -> User | None:
        """Return a member of the tenant."""
        return cast("User", info.context.people.get(self.row.created_by_id))


def share_link_of(asset: UUID, info: Info) -> ShareLink | None:
    """Return the link of an asset; raises PermissionDenied without assets.share."""
    info.context.actor.require("assets.share")
    # As sharing.current_links annotates it.
    row: Any = info.context.shares.get(asset)
    if row is None:
        return None
    return ShareLink(
        row=row,
        is_open=row.is_open,
        expires_at=row.expires_at,
        max_views=None if row.max_views is None else BigInt(row.max_views),
        access_count=BigInt(row.access_count),
        last_accessed_at=row.last_accessed_at,
        has_password=row.has_password,
        created_at=row.created_at,
    )
