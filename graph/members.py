"""People as GraphQL shows them: users, their memberships, and whoever asks.

Reads only. A tenant's members are listed to who holds users.view; of other tenants a person is
told their own memberships and nothing else.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from functools import partial, reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, cast
from uuid import UUID

import strawberry
import strawberry_django
from django.db.models import (
    Case,
    Exists,
    Expression,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    QuerySet,
    TextField,
    UUIDField,
    When,
)
from strawberry import UNSET, relay

from assets.search import MAX_NEEDLE
from graph.accounts import AccountFields
from graph.columns import (
    Every,
    Found,
    Keyed,
    Listed,
    Related,
    Told,
    column,
    computed,
    query,
    reading,
    resolved,
)
from graph.connections import (
    After,
    Before,
    Connection,
    First,
    Last,
    Listing,
    Ordering,
    SortKey,
    Window,
)
from graph.context import Context, Info, my_memberships, people, tenants
from graph.enums import OrderDirection, described
from graph.inputs import is_given
from graph.permissions import ACCOUNT, holding
from graph.selections import Selection, selected
from tenancy import models
from tenancy.errors import InvalidInput, PermissionDenied
from tenancy.permissions import Role
from tenancy.tenants import clean_text

if TYPE_CHECKING:
    from graph.tenants import Tenant


def _email(context: Context) -> Expression:
    if context.actor.can("users.view"):
        return ExpressionWrapper(F("email"), output_field=TextField())
    oneself = context.bound(lambda one: one.actor.user_id, UUIDField())
    return Case(When(pk=oneself, then=F("email")), output_field=TextField())


@strawberry_django.type(
    models.User,
    name="User",
    description="A person. The same person may belong to several tenants.",
)
class User(Keyed, relay.Node):
    """`tenancy.models.User`: a member of the entered tenant, or oneself."""

    username: str = column("The name they sign in with.")
    first_name: str = column("Their first name; empty where nobody gave one.")
    last_name: str = column("Their last name; empty where nobody gave one.")

    @computed(
        "Their e-mail address: only your own, and with users.view everybody's.",
        "email",
        sql=_email,
        needs=holding("users.view", also="not for one's own", hides=True),
    )
    def email(self, info: Info) -> str | None:
        """Return the address to who may see it."""
        row, actor = cast("models.User", self), info.context.actor
        return row.email if row.pk == actor.user_id or actor.can("users.view") else None


@strawberry_django.type(
    models.Membership,
    name="Membership",
    description="That a person belongs to a tenant, and as what.",
)
class Membership(Keyed, relay.Node):
    """`tenancy.models.Membership`."""

    role: Role = column("What they are there.")
    permissions: list[str] = column(
        'What they may do besides what the role allows: `["devices.*"]`. Mostly empty.'
    )
    is_active: bool = column("Whether it opens anything; an inactive membership does not.")

    @computed("The tenant they belong to.", "tenant", reads=Related("tenant_id", tenants))
    def tenant(self, info: Info) -> Annotated["Tenant", strawberry.lazy("graph.tenants")]:
        """Return a tenant that the actor belongs to or has entered."""
        return cast("Tenant", info.context.tenants.get(cast("models.Membership", self).tenant_id))

    @computed("The person.", "user", reads=Related("user_id", people))
    def user(self, info: Info) -> User:
        """Return a member of the entered tenant, or oneself."""
        return cast("User", info.context.people.get(cast("models.Membership", self).user_id))

    joined_at: datetime = column("When they joined.")
    last_access: datetime | None = column("When they were last there; null when they never were.")


class MembershipOrderField(StrEnum):
    """What memberships can be sorted by; each has its index."""

    JOINED_AT = "joined_at"
    ROLE = "role"


described(
    MembershipOrderField,
    "What memberships can be sorted by.",
    {
        MembershipOrderField.JOINED_AT: "When they joined.",
        MembershipOrderField.ROLE: "The name of the role: admin, manager, operator, owner, viewer.",
    },
)
SORT_KEYS = {
    MembershipOrderField.JOINED_AT: SortKey("joined_at", datetime),
    MembershipOrderField.ROLE: SortKey("role", str),
}


@strawberry.input(
    description="How a list of memberships is sorted. Ties are in the order they were made."
)
class MembershipOrder:
    """The `order` argument."""

    field: MembershipOrderField = strawberry.field(description="What to sort by.")
    direction: OrderDirection = strawberry.field(
        description="Which end comes first.", default=OrderDirection.ASC
    )


@strawberry.input(
    description=(
        "Which memberships to list: those that meet every condition given. A condition that is "
        "left out or null does not count; an empty list matches nothing."
    )
)
class MembershipFilter:
    """The `filter` argument."""

    role: list[Role] | None = strawberry.field(
        description="Its role is one of these.", default=UNSET
    )
    is_active: bool | None = strawberry.field(
        description="Whether it opens anything.", default=UNSET
    )
    search: str | None = strawberry.field(
        description=(
            "The person's username, first name, last name or e-mail address contains this, "
            "whatever the case of letters: `ada`. 200 characters at most; everybody when it is "
            "empty."
        ),
        default=UNSET,
    )

    def narrow(self, rows: QuerySet[models.Membership]) -> QuerySet[models.Membership]:
        """Return the rows that meet the filter."""
        if is_given(self.role):
            rows = rows.filter(role__in=self.role)
        if is_given(self.is_active):
            rows = rows.filter(is_active=self.is_active)
        if is_given(self.search):
            rows = rows.filter(_found_by(self.search))
        return rows


def _found_by(text: str) -> Q:
    field = ("filter", "search")
    if len(text) > MAX_NEEDLE:
        raise InvalidInput(f"A search can have {MAX_NEEDLE} characters at most.", field=field)
    try:
        text = clean_text(text).strip()
    except InvalidInput as error:
        raise InvalidInput(error.message, field=field) from None
    # A tenant has few members: their rows are read by its index, and looked at one by one. In a
    # sub-select, so that it is a condition on memberships wherever those come from.
    names = ("username", "first_name", "last_name", "email")
    found = reduce(or_, (Q(**{f"{name}__icontains": text}) for name in names))
    return Q(Exists(models.User.objects.filter(found, pk=OuterRef("user_id"))))


def readable(
    context: Context,
    rows: QuerySet[models.Membership],
    selection: Selection,
    *columns: str,
) -> QuerySet[models.Membership]:
    """Return `rows` with what `selection` needs of a Membership, and `columns`."""
    return reading(Membership, rows, selection, context, *columns)


def meet(context: Context, rows: Sequence[models.Membership]) -> None:
    """Let the people and tenants behind `rows` be read together when somebody asks for one."""
    context.people.expect(row.__dict__.get("user_id") for row in rows)
    context.tenants.expect(row.__dict__.get("tenant_id") for row in rows)


def of_tenant(context: Context) -> QuerySet[models.Membership]:
    """Return the entered tenant's memberships; raises PermissionDenied without users.view."""
    return models.Membership.objects.filter(tenant_id=context.actor.require("users.view"))


def listed_memberships(
    context: Context,
    filter: MembershipFilter | None = UNSET,  # noqa: A002 -- as the argument is called
    order: MembershipOrder | None = UNSET,
) -> Listing[models.Membership]:
    """Return the list of the entered tenant's memberships; raises PermissionDenied."""
    rows = of_tenant(context)
    if is_given(filter):
        rows = filter.narrow(rows)
    if not is_given(order):
        order = MembershipOrder(field=MembershipOrderField.JOINED_AT)
    return Listing(
        rows=rows,
        ordering=Ordering.of(SORT_KEYS, order.field, order.direction),
        read=partial(readable, context),
        meet=partial(meet, context),
    )


def page_of_memberships(
    info: Info, filter_: MembershipFilter | None, order: MembershipOrder | None, window: Window
) -> Connection[Membership]:
    """Return a page of the entered tenant's memberships; raises PermissionDenied."""
    return listed_memberships(info.context, filter_, order).page(window, selected(info))


def by_keys(
    context: Context, keys: list[UUID], selection: Selection
) -> Iterable[models.Membership]:
    """Return the memberships of these keys that there are; one's own, or with users.view any."""
    actor = context.actor
    if set(keys) - {actor.membership_id}:
        actor.require("users.view")
    rows = models.Membership.objects.filter(tenant_id=actor.entered(), pk__in=keys)
    found = list(readable(context, rows, selection))
    meet(context, found)
    return found


def users_by_keys(
    context: Context, keys: list[UUID], selection: Selection
) -> Iterable[models.User]:
    """Return the people of these keys that the actor may know: co-members, and themselves."""
    del selection
    context.people.expect(keys)
    return [row for key in keys if (row := context.people.get(key)) is not None]


def oneself(context: Context) -> QuerySet[models.User]:
    """Return whoever asks, or nobody where a credential is no person's."""
    return people().filter(pk=context.bound(lambda one: one.actor.user_id, UUIDField()))


def _own(context: Context) -> QuerySet[models.Membership]:
    key = context.bound(lambda one: one.actor.membership_id, UUIDField())
    return models.Membership.objects.filter(pk=key)


@strawberry.type(description="Whoever asks: you.")
class Viewer(AccountFields, Keyed, relay.Node):
    """The signed-in person, in the entered tenant if there is one."""

    row: strawberry.Private[models.User]

    @property
    def pk(self) -> UUID:
        """The person's key."""
        return self.row.pk

    @resolved("The name you sign in with.", sql=lambda _: F("username"))
    def username(self) -> str:
        """Return it."""
        return self.row.username

    @resolved("Your e-mail address; empty where you gave none.", sql=lambda _: F("email"))
    def email(self) -> str:
        """Return it."""
        return self.row.email

    @resolved(
        "The tenants you belong to and may enter, oldest membership first. All of them, "
        "whatever tenant you are in: use it to choose one.",
        reads=Every(lambda _: my_memberships()),
    )
    def memberships(self, info: Info) -> list[Membership]:
        """Return one's own memberships, as the look-up across tenants tells them."""
        context = info.context
        rows = list(my_memberships())
        context.people.put(self.row)
        meet(context, rows)
        return cast("list[Membership]", rows)

    @resolved(
        "Your membership in the tenant you are in; null when you are in none.", reads=Found(_own)
    )
    def membership(self, info: Info) -> Membership | None:
        """Return the entered tenant's membership."""
        return cast("Membership | None", info.context.membership)

    @resolved(
        "What you may do in the tenant you are in, one name each, sorted: "
        '`["assets.view", "layouts.view"]`. Empty when you are in none.',
        reads=Told(lambda context: sorted(context.actor.permissions)),
    )
    def permissions(self, info: Info) -> list[str]:
        """Return the actor's permissions."""
        return sorted(info.context.actor.permissions)

    @resolved(
        "Whether you hold a permission in the tenant you are in; false for names there are none "
        "of.",
        reads=Told(lambda context, permission: context.actor.can(permission)),
    )
    def can(
        self,
        info: Info,
        permission: Annotated[
            str, strawberry.argument(description="The permission's name: `assets.edit`.")
        ],
    ) -> bool:
        """Ask the actor."""
        return info.context.actor.can(permission)


def viewer(context: Context) -> Viewer:
    """Return whoever asks."""
    if context.actor.user_id is None:
        raise PermissionDenied("This credential is a device's: it is nobody.")
    row = context.people.get(context.actor.user_id)
    assert row is not None  # noqa: S101 -- everybody may read their own row
    return Viewer(row=row)


def viewers_by_keys(context: Context, keys: list[UUID], selection: Selection) -> Iterable[Viewer]:
    """Return whoever asks, when their key is among these."""
    del selection
    return [viewer(context)] if context.actor.user_id in keys else []


@strawberry.type
class MemberQueries:
    """The root fields about people."""

    @query(
        "You, or whose API token it is. Works without a tenant.",
        needs=ACCOUNT,
        reads=Found(oneself),
    )
    def me(self, info: Info) -> Viewer:
        """Return who asks."""
        return viewer(info.context)

    @query(
        "The tenant's members, page by page. Needs users.view.",
        needs=holding("users.view"),
        reads=Listed(listed_memberships),
    )
    def memberships(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            MembershipFilter | None, strawberry.argument(description="Which memberships to list.")
        ] = UNSET,
        order: Annotated[
            MembershipOrder | None, strawberry.argument(description="How to sort them.")
        ] = UNSET,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[Membership] | None:
        """List members."""
        return page_of_memberships(info, filter, order, Window.of(first, after, last, before))
