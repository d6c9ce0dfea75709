"""One's own account as GraphQL shows and changes it: password, second factor, sessions.

Only people who signed in themselves (session or Basic) have one to look at; nothing is decided
here. One request is one attempt: graph.limits refuses a second password or code in it.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, cast
from uuid import UUID

import strawberry
import strawberry_django
from django.db.models import (
    BooleanField,
    Case,
    DateTimeField,
    Exists,
    Expression,
    IntegerField,
    OuterRef,
    QuerySet,
    Subquery,
    UUIDField,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from strawberry import UNSET, relay

from graph.columns import (
    Found,
    Keyed,
    Listed,
    column,
    computed,
    mutation,
    part,
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
from graph.context import Context, Info
from graph.enums import OrderDirection, described
from graph.errors import UserError, attempt
from graph.ids import key_of
from graph.permissions import PERSON
from graph.selections import Selection, selected
from tenancy import accounts, email_addresses, models, second_factor, sessions
from tenancy.errors import NotFound

if TYPE_CHECKING:
    from graph.members import Viewer

LazyViewer = Annotated["Viewer", strawberry.lazy("graph.members")]


@strawberry_django.type(
    models.UserSession,
    name="UserSession",
    description="A browser that you are signed in with.",
)
class UserSession(Keyed, relay.Node):
    """`tenancy.models.UserSession` of whoever asks."""

    created_at: datetime = column("When you signed in.")
    last_seen_at: datetime = column("When it was last used, to five minutes.")
    expires_at: datetime = column("When it ends by itself.")
    user_agent: str = column("What the browser says of itself; empty where it says nothing.")
    network: str = column(
        "What it was last used from, roughly: `203.0.113.0/24`, `2001:db8:1::/48`. Empty where "
        "that is not known."
    )

    @computed(
        "What people call the browser: `Firefox on Linux`.",
        "user_agent",
        sql=lambda _: sessions.browser_name_of("user_agent"),
    )
    def browser(self) -> str:
        """Return a name for it."""
        return sessions.browser_name(cast("models.UserSession", self).user_agent)

    @computed(
        "Whether it is the one that asks.",
        sql=lambda context: Case(
            When(
                pk=context.bound(lambda one: one.request.session_id, UUIDField()), then=Value(True)
            ),
            default=Value(False),
            output_field=BooleanField(),
        ),
    )
    def is_current(self, info: Info) -> bool:
        """Compare with the request's own."""
        return cast("models.UserSession", self).pk == info.context.request.session_id


class UserSessionOrderField(StrEnum):
    """What sessions can be sorted by; it has its index."""

    LAST_SEEN_AT = "last_seen_at"


described(
    UserSessionOrderField,
    "What sessions can be sorted by.",
    {UserSessionOrderField.LAST_SEEN_AT: "When they were last used."},
)
SORT_KEYS = {UserSessionOrderField.LAST_SEEN_AT: SortKey("last_seen_at", datetime)}


def _readable(
    context: Context, rows: QuerySet[models.UserSession], selection: Selection, *columns: str
) -> QuerySet[models.UserSession]:
    return reading(UserSession, rows, selection, context, *columns)


def live_sessions(context: Context) -> QuerySet[models.UserSession]:
    """Return one's own sessions that open something; raises PermissionDenied."""
    now = context.bound(lambda one: one.now, DateTimeField())
    return sessions.sessions_of(context.actor.oneself(), now)


def _listed_sessions(context: Context) -> Listing[models.UserSession]:
    return Listing(
        rows=live_sessions(context),
        ordering=Ordering.of(SORT_KEYS, UserSessionOrderField.LAST_SEEN_AT, OrderDirection.DESC),
        read=partial(_readable, context),
        meet=lambda _rows: None,
    )


def by_keys(
    context: Context, keys: list[UUID], selection: Selection
) -> Iterable[models.UserSession]:
    """Return one's own live sessions of these keys, for `node` and `nodes`."""
    return list(_readable(context, live_sessions(context).filter(pk__in=keys), selection))


# Of the person that the object is made from.
_FACTOR = models.SecondFactor.objects.filter(user_id=OuterRef("pk"))


def _oneself(context: Context) -> QuerySet[models.User]:
    return models.User.objects.filter(pk=context.actor.oneself())


def _is_required(context: Context) -> Expression:
    tenant = context.bound(lambda one: one.actor.tenant_id, UUIDField())
    asked = models.TenantSettings.objects.filter(tenant_id=tenant, require_2fa=True)
    return Case(
        When(Exists(asked), then=Value(True)),
        default=context.bound(lambda one: one.request.confined is not None, BooleanField()),
        output_field=BooleanField(),
    )


@strawberry.type(description="Your second factor: codes of an app, asked for when you sign in.")
class SecondFactor:
    """What there is of it."""

    is_enabled: bool = part(
        "Whether signing in asks you for a code.",
        sql=lambda _: Exists(_FACTOR.filter(confirmed_at__isnull=False)),
    )
    enabled_at: datetime | None = part(
        "Since when it does; null while it does not.",
        sql=lambda _: Subquery(_FACTOR.values("confirmed_at")[:1]),
    )
    recovery_codes_left: int = part(
        "How many recovery codes you have not used: `10` of new ones.",
        sql=lambda _: Coalesce(
            Subquery(_FACTOR.values("recovery_digests__len")[:1]),
            Value(0),
            output_field=IntegerField(),
        ),
    )
    is_required: bool = part(
        "Whether the tenant you are in asks its members for one. While you have none there, you "
        "can do nothing but set one up.",
        sql=_is_required,
    )


@strawberry.type
class AccountFields:
    """What `me` tells of one's account."""

    @resolved(
        "Your second factor. Null for a credential that is not your own sign-in's.",
        reads=Found(_oneself),
    )
    def second_factor(self, info: Info) -> SecondFactor | None:
        """Read it."""
        context = info.context
        row = second_factor.find_second_factor(context.actor.oneself())
        is_enabled = row is not None and row.confirmed_at is not None
        is_inside = context.actor.tenant_id is not None
        return SecondFactor(
            is_enabled=is_enabled,
            enabled_at=row.confirmed_at if row else None,
            recovery_codes_left=len(row.recovery_digests) if row else 0,
            is_required=context.request.confined is not None
            or (is_inside and context.settings.require_2fa),
        )

    @resolved(
        "The browsers you are signed in with, the last used first. Null for a credential that is "
        "not your own sign-in's.",
        reads=Listed(_listed_sessions),
    )
    def sessions(
        self,
        info: Info,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[UserSession] | None:
        """List them."""
        window = Window.of(first, after, last, before)
        return _listed_sessions(info.context).page(window, selected(info))


@strawberry.input(description="Your password and the one in its place.")
class ChangePasswordInput:
    """The input of `changePassword`."""

    current_password: str = strawberry.field(description="The password you have.")
    new_password: str = strawberry.field(
        description="12 characters or more, not a common one, not only digits."
    )


@strawberry.input(description="The address in place of yours.")
class ChangeEmailInput:
    """The input of `changeEmail`."""

    current_password: str = strawberry.field(description="Your password.")
    email: str = strawberry.field(description="The new address: `ada@example.com`.")


@strawberry.input(description="That it is you.")
class BeginSecondFactorInput:
    """The input of `beginSecondFactor`."""

    current_password: str = strawberry.field(description="Your password.")


@strawberry.input(description="That your app works.")
class ConfirmSecondFactorInput:
    """The input of `confirmSecondFactor`."""

    code: str = strawberry.field(description="The six digits that your app shows: `123456`.")


@strawberry.input(description="That it is you.")
class DisableSecondFactorInput:
    """The input of `disableSecondFactor`."""

    current_password: str = strawberry.field(description="Your password.")
    code: str = strawberry.field(description="A code of your app, or a recovery code.")


@strawberry.input(description="That it is you.")
class RegenerateRecoveryCodesInput:
    """The input of `regenerateRecoveryCodes`."""

    current_password: str = strawberry.field(description="Your password.")
    code: str = strawberry.field(description="A code of your app, or a recovery code.")


@strawberry.input(description="Which session.")
class EndSessionInput:
    """The input of `endSession`."""

    id: strawberry.ID = strawberry.field(description="The session's `id`.")


@strawberry.input(description="Which sessions are the others.")
class EndOtherSessionsInput:
    """The input of `endOtherSessions`."""

    keep: strawberry.ID | None = strawberry.field(
        description="The session to keep; the one that asks when left out.", default=UNSET
    )


@strawberry.type(description="What an authenticator app is set up with.")
class Enrolment:
    """What `beginSecondFactor` made."""

    secret: str = strawberry.field(
        description="The key, for people to type: 32 letters and digits (base32)."
    )
    uri: str = strawberry.field(
        description="The same as a link that opens the app: `otpauth://totp/Signate:ada?secret=…`."
    )
    qr_svg: str = strawberry.field(
        description="The URI as a QR code: one `<svg>` element without scripts, black on white."
    )


@strawberry.type(description="What `changePassword` did.")
class ChangePasswordPayload:
    """The payload of `changePassword`."""

    viewer: LazyViewer | None = strawberry.field(description="You; null when it was refused.")
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `changeEmail` did.")
class ChangeEmailPayload:
    """The payload of `changeEmail`."""

    viewer: LazyViewer | None = strawberry.field(
        description="You, with the address you have until then; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `beginSecondFactor` did.")
class BeginSecondFactorPayload:
    """The payload of `beginSecondFactor`."""

    enrolment: Enrolment | None = strawberry.field(
        description="What to set the app up with, good for an hour; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `confirmSecondFactor` did.")
class ConfirmSecondFactorPayload:
    """The payload of `confirmSecondFactor`."""

    recovery_codes: list[str] | None = strawberry.field(
        description=(
            "Ten codes, each of which stands in for the app once: `abcd-efgh-jkmn-pqrs`. Shown "
            "once. Null when it was refused."
        )
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `disableSecondFactor` did.")
class DisableSecondFactorPayload:
    """The payload of `disableSecondFactor`."""

    viewer: LazyViewer | None = strawberry.field(description="You; null when it was refused.")
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `regenerateRecoveryCodes` did.")
class RegenerateRecoveryCodesPayload:
    """The payload of `regenerateRecoveryCodes`."""

    recovery_codes: list[str] | None = strawberry.field(
        description="Ten new codes, shown once; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `endSession` did.")
class EndSessionPayload:
    """The payload of `endSession`."""

    ended_id: strawberry.ID | None = strawberry.field(
        description="The session's id; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `endOtherSessions` did.")
class EndOtherSessionsPayload:
    """The payload of `endOtherSessions`."""

    ended: int | None = strawberry.field(
        description="How many sessions ended: `2`; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


def _viewer(info: Info) -> "Viewer":
    from graph.members import viewer

    return viewer(info.context)


def _session_key(text: str, field: str) -> UUID:
    key = key_of(text, "UserSession", field)
    if key is None:
        raise NotFound("There is no such session, or it has ended.", field=(field,))
    return key


@strawberry.type
class AccountMutations:
    """The mutations about one's own account."""

    @mutation(
        "Change your password. Your other sessions end, and Basic credentials with the old one. "
        "Refused: INVALID, RATE_LIMITED.",
        needs=PERSON,
    )
    def change_password(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            ChangePasswordInput, strawberry.argument(description="Both passwords.")
        ],
    ) -> ChangePasswordPayload:
        """Change it."""
        request = info.context.request
        _, errors = attempt(
            lambda: accounts.change_password(
                actor=request.actor,
                current=input.current_password,
                new=input.new_password,
                keep=request.session_id,
            ),
        )
        return ChangePasswordPayload(viewer=None if errors else _viewer(info), errors=errors)

    @mutation(
        "Have a link mailed to a new address: it is yours once you open that, signed in, within a "
        "day. Refused: INVALID, RATE_LIMITED.",
        needs=PERSON,
    )
    def change_email(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            ChangeEmailInput, strawberry.argument(description="Password and address.")
        ],
    ) -> ChangeEmailPayload:
        """Ask for it."""
        _, errors = attempt(
            lambda: email_addresses.request_email_change(
                actor=info.context.actor, password=input.current_password, email=input.email
            ),
        )
        return ChangeEmailPayload(viewer=None if errors else _viewer(info), errors=errors)

    @mutation(
        "Begin to set up a second factor: show the QR code or the key, then take the first code "
        "with `confirmSecondFactor`. Nothing is asked for until then. Refused: INVALID, CONFLICT, "
        "RATE_LIMITED.",
        needs=PERSON,
    )
    def begin_second_factor(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            BeginSecondFactorInput, strawberry.argument(description="Your password.")
        ],
    ) -> BeginSecondFactorPayload:
        """Begin."""
        request = info.context.request

        def begin() -> second_factor.Enrolment:
            accounts.prove_password(actor=request.actor, password=input.current_password)
            return second_factor.begin_second_factor(actor=request.actor)

        made, errors = attempt(begin)
        shown = Enrolment(secret=made.secret, uri=made.uri, qr_svg=made.svg) if made else None
        return BeginSecondFactorPayload(enrolment=shown, errors=errors)

    @mutation(
        "Switch on the second factor that was begun. Your other sessions end. Refused: INVALID, "
        "CONFLICT, RATE_LIMITED.",
        needs=PERSON,
    )
    def confirm_second_factor(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            ConfirmSecondFactorInput, strawberry.argument(description="A code of the app.")
        ],
    ) -> ConfirmSecondFactorPayload:
        """Confirm."""
        request = info.context.request
        codes, errors = attempt(
            lambda: second_factor.confirm_second_factor(
                actor=request.actor,
                code=input.code,
                keep=request.session_id,
            ),
        )
        return ConfirmSecondFactorPayload(recovery_codes=codes, errors=errors)

    @mutation(
        "Switch your second factor off. Your other sessions end, and tenants that ask for one are "
        "closed to you. Refused: INVALID, RATE_LIMITED.",
        needs=PERSON,
    )
    def disable_second_factor(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            DisableSecondFactorInput, strawberry.argument(description="Password and code.")
        ],
    ) -> DisableSecondFactorPayload:
        """Switch it off."""
        request = info.context.request

        def disable() -> None:
            accounts.prove_password(actor=request.actor, password=input.current_password)
            second_factor.disable_second_factor(
                actor=request.actor,
                code=input.code,
                keep=request.session_id,
            )

        _, errors = attempt(disable)
        return DisableSecondFactorPayload(viewer=None if errors else _viewer(info), errors=errors)

    @mutation(
        "Make new recovery codes; the old ones are worth nothing any more. Refused: INVALID, "
        "RATE_LIMITED.",
        needs=PERSON,
    )
    def regenerate_recovery_codes(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            RegenerateRecoveryCodesInput, strawberry.argument(description="Password and code.")
        ],
    ) -> RegenerateRecoveryCodesPayload:
        """Make them."""
        request = info.context.request

        def regenerate() -> list[str]:
            accounts.prove_password(actor=request.actor, password=input.current_password)
            return second_factor.regenerate_recovery_codes(actor=request.actor, code=input.code)

        codes, errors = attempt(regenerate)
        return RegenerateRecoveryCodesPayload(recovery_codes=codes, errors=errors)

    @mutation(
        "End one of your sessions: that browser is signed out with its next request. Refused: "
        "NOT_FOUND.",
        needs=PERSON,
    )
    def end_session(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            EndSessionInput, strawberry.argument(description="Which session.")
        ],
    ) -> EndSessionPayload:
        """End it."""
        _, errors = attempt(
            lambda: sessions.end_session(
                actor=info.context.actor, session=_session_key(input.id, "id")
            )
        )
        return EndSessionPayload(ended_id=None if errors else input.id, errors=errors)

    @mutation(
        "End all of your sessions but one; with a credential that is no session, and nothing to "
        "keep, all of them. Refused: NOT_FOUND.",
        needs=PERSON,
    )
    def end_other_sessions(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            EndOtherSessionsInput, strawberry.argument(description="Which one to keep.")
        ],
    ) -> EndOtherSessionsPayload:
        """End them."""
        actor, current = info.context.actor, info.context.request.session_id

        def end() -> int:
            keep = _session_key(input.keep, "keep") if input.keep else current
            if keep is not None and not sessions.is_live(actor=actor, session=keep):
                raise NotFound("There is no such session, or it has ended.", field=("keep",))
            return sessions.end_other_sessions(actor=actor, keep=keep)

        ended, errors = attempt(end)
        return EndOtherSessionsPayload(ended=ended, errors=errors)
