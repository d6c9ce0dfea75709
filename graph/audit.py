"""The audit log as GraphQL shows it: reads only, of entries that tenancy.audit wrote.

Every filter that is offered has its index, or is a look through one of another's rows.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Annotated, cast
from uuid import UUID

import strawberry
import strawberry_django
from django.db.models import Case, F, Q, QuerySet, Value, When
from strawberry import UNSET, relay
from strawberry.scalars import JSON

from graph.columns import (
    Itself,
    Keyed,
    Listed,
    Related,
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
from graph.context import Context, Info, people
from graph.enums import OrderDirection, described
from graph.ids import GlobalId, key_of, read_id
from graph.inputs import is_given
from graph.members import User
from graph.permissions import holding
from graph.selections import Selection, selected
from tenancy import models
from tenancy.actors import ActorKind
from tenancy.audit import Credential
from tenancy.errors import InvalidInput
from tenancy.tenants import clean_text

MOST_VALUES = 100
# As UUIDs are written, and no other way.
_KEY = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"

described(
    ActorKind,
    "What somebody is, by how they got in.",
    {
        ActorKind.ANONYMOUS: "Nobody that is known.",
        ActorKind.CAPABILITY: "Whoever has one of the tenant's capability addresses.",
        ActorKind.DEVICE: "A player.",
        ActorKind.MEMBER: "A person of the tenant.",
        ActorKind.OPERATOR: "Whoever runs the service, by a command.",
        ActorKind.TOKEN: "A program with an API token.",
        ActorKind.LINK: "Whoever has a signed address.",
        ActorKind.WORKER: "The service itself, in the background.",
    },
)
described(
    Credential,
    "What somebody got in with.",
    {
        Credential.SESSION: "A browser's session, after signing in.",
        Credential.BASIC: "A name and a password with each request.",
        Credential.TOKEN: "An API token.",
        Credential.DEVICE_SECRET: "The secret of a device.",
        Credential.CAPABILITY: "A capability address.",
        Credential.COMMAND: "A command on the server itself.",
        Credential.WORKER: "None: the service's own work in the background.",
    },
)


@strawberry.type(description="Who did something, and how they got in.")
class AuditActor:
    """The actor of an entry."""

    row: strawberry.Private[models.AuditEntry]

    @resolved("What they are.", sql=lambda _: F("actor_kind"))
    def kind(self) -> ActorKind:
        """Return the kind."""
        return ActorKind(self.row.actor_kind)

    @resolved(
        "The person, of a token its owner; null where there was none and for somebody who has "
        "left the tenant.",
        reads=Related("user_id", people),
    )
    def user(self, info: Info) -> User | None:
        """Return a member of the tenant."""
        return cast("User | None", info.context.people.get(self.row.user_id))

    @resolved(
        "The person's id, also of one who has left; null where there was none.",
        sql=lambda _: GlobalId(Value("User"), "user_id"),
    )
    def user_id(self) -> strawberry.ID | None:
        """Return a global id."""
        return _global("User", self.row.user_id)

    @resolved(
        "The `id` of the device, for a player; else null.",
        sql=lambda _: GlobalId(Value("Device"), "device_id"),
    )
    def device_id(self) -> strawberry.ID | None:
        """Return a global id."""
        return _global("Device", self.row.device_id)

    @resolved(
        "The `id` of the API token or the capability; else null.",
        sql=lambda _: GlobalId(
            Case(
                When(actor_kind=ActorKind.TOKEN, then=Value("ApiToken")),
                default=Value("Capability"),
            ),
            "token_id",
        ),
    )
    def key_id(self) -> strawberry.ID | None:
        """Return a global id."""
        kind = "ApiToken" if self.row.actor_kind == ActorKind.TOKEN else "Capability"
        return _global(kind, self.row.token_id)

    @resolved(
        "What they got in with; null where that is not known.",
        sql=lambda _: Case(When(credential__in=list(Credential), then=F("credential"))),
    )
    def credential(self) -> Credential | None:
        """Return the credential's kind."""
        known = {one.value: one for one in Credential}
        return known.get(self.row.credential)

    @resolved(
        "The address the request came from: `203.0.113.7`; empty where none did.",
        sql=lambda _: F("address"),
    )
    def address(self) -> str:
        """Return the address."""
        return self.row.address


def _global(kind: str, key: UUID | None) -> strawberry.ID | None:
    return None if key is None else strawberry.ID(relay.to_base64(kind, key))


@strawberry_django.type(
    models.AuditEntry,
    name="AuditEntry",
    description=(
        "That somebody changed something in the tenant. Entries are never changed; they are "
        "removed after two years, or as many days as the service is set to."
    ),
)
class AuditEntry(Keyed, relay.Node):
    """`tenancy.models.AuditEntry`."""

    at: datetime = column("When it was done.")
    action: str = column(
        "What was done, a noun and a verb in the past: `asset.created`, `membership.added`."
    )
    subject: str = column("The type of what it was done to: `Asset`.")
    label: str = column("What people called it then: an asset's name, say; may be empty.")
    request_id: str = column(
        "The `X-Request-ID` of the request, as in the service's logs; empty where there was none."
    )
    before: JSON | None = column(
        'What was there before, by field, of what was changed: `{"duration": 10}`. Null where '
        "there was nothing. Secrets are replaced by `[secret]`."
    )
    after: JSON | None = column("What is there after, likewise; null where nothing is left.")
    reason: str = column("Why, where somebody had to say; mostly empty.")

    @computed(
        "The `id` of what it was done to, for `node`; null where it was to many at once, whose ids "
        "are in `before` or `after`, and where the thing has none.",
        "subject",
        "subject_id",
        sql=lambda _: Case(When(subject_id__regex=_KEY, then=GlobalId(F("subject"), "subject_id"))),
    )
    def subject_id(self) -> strawberry.ID | None:
        """Return a global id."""
        row = cast("models.AuditEntry", self)
        return _global(row.subject, UUID(row.subject_id)) if _is_key(row.subject_id) else None

    @computed(
        "Who did it.",
        *("actor_kind", "user", "device_id", "token_id", "credential", "address"),
        reads=Itself(),
    )
    def actor(self) -> AuditActor:
        """Return who did it."""
        return AuditActor(row=cast("models.AuditEntry", self))


def _is_key(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


class AuditOrderField(StrEnum):
    """What the log can be sorted by; it has its indexes."""

    AT = "at"


described(AuditOrderField, "What the log can be sorted by.", {AuditOrderField.AT: "The moment."})
SORT_KEYS = {AuditOrderField.AT: SortKey("at", datetime)}


@strawberry.input(description="How the audit log is sorted.")
class AuditOrder:
    """The `order` argument."""

    field: AuditOrderField = strawberry.field(
        description="What to sort by.", default=AuditOrderField.AT
    )
    direction: OrderDirection = strawberry.field(
        description="Which end comes first.", default=OrderDirection.DESC
    )


@strawberry.input(
    description=(
        "Which entries to list: those that meet every condition given. A condition that is left "
        "out or null does not count; an empty list matches nothing. A list has 100 values at most."
    )
)
class AuditFilter:
    """The `filter` argument."""

    user_id: strawberry.ID | None = strawberry.field(
        description="Done by this person: a `User`'s id.", default=UNSET
    )
    actions: list[str] | None = strawberry.field(
        description='One of these was done: `["asset.deleted"]`.', default=UNSET
    )
    action_prefix: str | None = strawberry.field(
        description="What was done begins like this: `asset.` or `settings`.", default=UNSET
    )
    subjects: list[str] | None = strawberry.field(
        description='It was done to one of these types: `["Device", "Membership"]`.', default=UNSET
    )
    subject_id: strawberry.ID | None = strawberry.field(
        description="It was done to this, by its `id`, whether it is still there or not.",
        default=UNSET,
    )
    label_prefix: str | None = strawberry.field(
        description="The name of what it was done to begins like this, in any case of letters.",
        default=UNSET,
    )
    credentials: list[Credential] | None = strawberry.field(
        description="Somebody got in with one of these.", default=UNSET
    )
    from_: datetime | None = strawberry.field(
        name="from", description="At this moment or later.", default=UNSET
    )
    to: datetime | None = strawberry.field(description="Before this moment.", default=UNSET)

    def condition(self) -> Q | None:
        """Return the filter as one condition, None for what nothing meets; raises InvalidInput."""
        condition = Q()
        if is_given(self.user_id):
            key = key_of(self.user_id, "User", "filter", "user_id")
            if key is None:
                return None
            condition &= Q(user_id=key)
        if is_given(self.subject_id):
            kind, key = read_id(self.subject_id, "filter", "subject_id")
            if key is None:
                return None
            condition &= Q(subject=kind, subject_id=str(key))
        condition &= self._listed()
        if is_given(self.action_prefix):
            condition &= _begins("action", clean_text(self.action_prefix))
        if is_given(self.label_prefix):
            condition &= _begins("sort_label", clean_text(self.label_prefix)[:200].lower())
        if is_given(self.from_):
            condition &= Q(at__gte=self.from_)
        if is_given(self.to):
            condition &= Q(at__lt=self.to)
        return condition

    def _listed(self) -> Q:
        condition = Q()
        lists: tuple[tuple[str, Sequence[str] | None], ...] = (
            ("action", self.actions),
            ("subject", self.subjects),
            ("credential", self.credentials),
        )
        for name, values in lists:
            if is_given(values):
                condition &= Q(**{f"{name}__in": _few(list(map(str, values)), name)})
        return condition


def _few(values: Sequence[str], name: str) -> list[str]:
    if len(values) > MOST_VALUES:
        message = f"Give {MOST_VALUES} values at most."
        raise InvalidInput(message, field=("filter", f"{name}s"))
    return [clean_text(value) for value in values]


def _begins(column_: str, prefix: str) -> Q:
    # A range, of a column that is sorted by bytes: what an index answers behind the wall too.
    return Q(**{f"{column_}__gte": prefix, f"{column_}__lt": prefix + "\U0010ffff"})


def of_tenant(context: Context) -> QuerySet[models.AuditEntry]:
    """Return the entered tenant's log; raises PermissionDenied without tenant.audit."""
    return models.AuditEntry.objects.filter(tenant_id=context.actor.require("tenant.audit"))


def _readable(
    context: Context, rows: QuerySet[models.AuditEntry], selection: Selection, *columns: str
) -> QuerySet[models.AuditEntry]:
    return reading(AuditEntry, rows, selection, context, *columns)


def _meet(context: Context, rows: Sequence[models.AuditEntry]) -> None:
    context.people.expect(row.__dict__.get("user_id") for row in rows)


def by_keys(
    context: Context, keys: list[UUID], selection: Selection
) -> Iterable[models.AuditEntry]:
    """Return the entries of these keys that there are, for `node` and `nodes`."""
    rows = list(_readable(context, of_tenant(context).filter(pk__in=keys), selection))
    _meet(context, rows)
    return rows


def _listed_entries(
    context: Context,
    filter: AuditFilter | None = UNSET,  # noqa: A002 -- as the argument is called
    order: AuditOrder | None = UNSET,
) -> Listing[models.AuditEntry]:
    rows = of_tenant(context)
    if is_given(filter):
        condition = filter.condition()
        rows = rows.none() if condition is None else rows.filter(condition)
    if not is_given(order):
        order = AuditOrder()
    return Listing(
        rows=rows,
        ordering=Ordering.of(SORT_KEYS, order.field, order.direction),
        read=partial(_readable, context),
        meet=partial(_meet, context),
    )


@strawberry.type
class AuditQueries:
    """The root field of the log."""

    @query(
        "Who changed what in the tenant, the latest first, page by page. Needs tenant.audit, which "
        "owners and admins have.",
        needs=holding("tenant.audit"),
        reads=Listed(_listed_entries),
    )
    def audit_log(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            AuditFilter | None, strawberry.argument(description="Which entries to list.")
        ] = UNSET,
        order: Annotated[
            AuditOrder | None, strawberry.argument(description="How to sort them.")
        ] = UNSET,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[AuditEntry] | None:
        """List entries."""
        window = Window.of(first, after, last, before)
        return _listed_entries(info.context, filter, order).page(window, selected(info))
