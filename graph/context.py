"""What every resolver of one operation shares: who asks, one clock, and rows read once.

Made by graph.view for each operation, inside nothing: it reads only when a resolver asks, and
then inside the view's door.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

import strawberry
from django.db.models import Field, Model, Q, QuerySet, Value
from django.db.models.sql.datastructures import BaseTable

from assets.search import among_found
from assets.sharing import current_links
from tenancy.models import Membership, Tenant, TenantSettings, User
from tenancy.permissions import granted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from graphql import DocumentNode

    from assets.models import ShareLink
    from tenancy.actors import Actor
    from tenancy.middleware import SignateRequest

ModelT = TypeVar("ModelT", bound=Model)


class Rows(Generic[ModelT]):
    """Rows of one table that fields may ask for by key, fetched together at the first asking.

    A list says with `expect` which keys its items will be asked about; so a page of fifty assets
    costs one statement for all their creators, and none when nobody asks.
    """

    def __init__(
        self,
        readable: Callable[[], QuerySet[ModelT]],
        *,
        by: str = "pk",
        meet: Callable[[Sequence[ModelT]], None] = lambda _rows: None,
    ) -> None:
        """Take where rows come from, what their key is, and who hears of them once they are read.

        Nothing is read yet.
        """
        self._readable = readable
        self._by = by
        self._meet = meet
        self._expected: set[UUID] = set()
        self._known: dict[UUID, ModelT | None] = {}

    def expect(self, keys: Iterable[UUID | None]) -> None:
        """Remember keys that may be asked for."""
        self._expected.update(key for key in keys if key is not None and key not in self._known)

    def put(self, row: ModelT) -> None:
        """Keep a row that somebody has read already."""
        self._known[getattr(row, self._by)] = row

    def forget(self, key: UUID) -> None:
        """Read the row of `key` anew when it is asked for: it was changed."""
        self._known.pop(key, None)

    def get(self, key: UUID | None) -> ModelT | None:
        """Return the row of `key`; None when there is none that the actor may see."""
        if key is None:
            return None
        if key not in self._known:
            wanted = self._expected - self._known.keys() | {key}
            self._known |= dict.fromkeys(wanted)
            rows = list(self._readable().filter(**{f"{self._by}__in": wanted}))
            self._meet(rows)
            self._known |= {getattr(row, self._by): row for row in rows}
            self._expected.clear()
        return self._known[key]


def people() -> QuerySet[User]:
    """Return the people whom whoever asks may know, with what is shown of them."""
    return User.objects.only("id", "username", "first_name", "last_name", "email")


def tenants() -> QuerySet[Tenant]:
    """Return the tenants that whoever asks may know."""
    return Tenant.objects.all()


class _MyMemberships(BaseTable):
    """What the look-up across tenants tells, where a statement has the table of memberships."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the call, under the table's name."""
        del connection
        return f"my_memberships() {compiler.quote_name_unless_alias(self.table_alias)}", ()


def my_memberships() -> QuerySet[Membership]:
    """Return one's own memberships that open something, in all tenants, oldest first."""
    rows = Membership.objects.order_by("id")
    rows.query.base_table_class = _MyMemberships
    return rows


@dataclass
class Context:
    """One operation's context; `now` is its only clock, in UTC."""

    request: SignateRequest
    actor: Actor
    document: DocumentNode | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    people: Rows[User] = field(default_factory=lambda: Rows(people))
    tenants: Rows[Tenant] = field(default_factory=lambda: Rows(tenants))

    def bound(self, value: Callable[[Context], Any], field: Field[Any, Any], **_: Any) -> Any:
        """Return what of this operation a statement is to hold, as an expression.

        A read that is compiled keeps `value` instead and asks it anew for each operation
        (docs/compiled-reads.md). `zoned` says that it depends on `zone`.
        """
        return Value(value(self), output_field=field)

    def made(self, make: Callable[[Any], Any], argument: Any, field: Field[Any, Any]) -> Any:
        """Return what `make` makes of an argument; a read that is compiled makes it later."""
        del field
        return make(argument)

    def among(self, function: str, *needles: Sequence[str]) -> Q:
        """Return the condition "is one of the few assets that a look-up finds" (assets.search).

        A read that is compiled looks up in its own statement.
        """
        return among_found(function, *needles)

    @cached_property
    def tenant(self) -> Tenant:
        """The entered tenant; raises TenantRequired when there is none."""
        tenant = self.tenants.get(self.actor.entered())
        assert tenant is not None  # noqa: S101 -- the wall shows everybody the tenant they entered
        return tenant

    @cached_property
    def _permissions(self) -> dict[UUID, frozenset[str]]:
        """What the actor may do in each tenant they belong to, by its key."""
        rows = my_memberships() if self.actor.user_id else Membership.objects.none()
        found = {row.tenant_id: granted(row.role, row.permissions) for row in rows if row.is_active}
        if self.actor.tenant_id is not None:
            # A token may hold less than its person, and an operator is no member.
            found[self.actor.tenant_id] = self.actor.permissions
        return found

    def permissions_in(self, tenant: UUID) -> frozenset[str]:
        """Return what the actor may do in a tenant: in the one entered, and by membership."""
        return self._permissions.get(tenant, frozenset())

    @cached_property
    def shares(self) -> Rows[ShareLink]:
        """The share links that are not revoked, by their assets' keys."""
        return Rows(
            current_links,
            by="asset_id",
            meet=lambda rows: self.people.expect(row.created_by_id for row in rows),
        )

    @cached_property
    def settings(self) -> TenantSettings:
        """The entered tenant's settings; raises TenantRequired when there is none."""
        return TenantSettings.objects.get(tenant_id=self.actor.entered())

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone that play windows are judged in: the entered tenant's."""
        return ZoneInfo(self.settings.timezone)

    @cached_property
    def membership(self) -> Membership | None:
        """The actor's own membership in the entered tenant; None for an operator."""
        if self.actor.membership_id is None:
            return None
        return Membership.objects.filter(pk=self.actor.membership_id).first()


Info: TypeAlias = strawberry.Info[Context, None]
