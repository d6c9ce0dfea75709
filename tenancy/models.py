"""The registry (tenants, people, their secrets) and the tenant-owned memberships and settings.

Shapes and constraints only: what is decided about them is in the noun's own module (tenants.py,
members.py, people.py, credentials.py).
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn, TypeVar

from django.conf import settings as django_settings
from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.contrib.postgres.fields import ArrayField
from django.db import IntegrityError, models
from django.db.models.functions import Left, Lower
from django.utils import timezone
from uuid_utils.compat import uuid7

from tenancy.permissions import Role

# MISSION T1: `^[a-z0-9-]+$`, 100 characters in the column; a DNS label allows 63 and no hyphen at
# its ends (RFC 1035 section 2.3.1), and `xn--` labels would let a look-alike pass for a name.
SLUG_PATTERN = r"^(?!xn--)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
RESERVED_SLUGS = frozenset(
    {
        "www", "api", "app", "admin", "root", "mail", "smtp", "imap", "ftp", "ns", "ns1", "ns2",
        "static", "assets", "media", "cdn", "status", "health", "login", "signin", "signup",
        "auth", "oauth", "account", "accounts", "billing", "help", "support", "docs", "blog",
        "graphql", "ws", "share", "internal", "localhost", "test", "staging", "demo",
    }
)  # fmt: skip


class Tier(models.TextChoices):
    """What a tenant pays for."""

    BASIC = "basic"
    PROFESSIONAL = "professional"
    ENTERPRISE = "enterprise"
    LEGACY = "legacy"


def violated(error: IntegrityError) -> str:
    """Return the name of the constraint that a write violated."""
    return getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) or ""


def default_database_name(slug: str) -> str:
    """Return the name a tenant's own database has when it is given one (MISSION T1)."""
    return "anthias_tenant_" + slug.replace("-", "_")


class Tenant(models.Model):
    """One organisation. The registry of them is global; a tenant sees its own row, by policy."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=255)
    slug = models.CharField(max_length=100, unique=True)
    domain = models.CharField(max_length=253, unique=True, null=True, blank=True)
    # A domain resolves from this moment on, and not before somebody proved to hold it.
    domain_verified_at = models.DateTimeField(null=True, blank=True)
    # What somebody here wants to prove that they hold. Not unique: wanting keeps nobody else away.
    requested_domain = models.CharField(max_length=253, default="", db_default="", blank=True)
    # What the domain's TXT record has to say (tenancy.domains); made once.
    domain_token = models.CharField(max_length=64, default="", db_default="", blank=True)
    # Since when the record of the verified domain is not there any more.
    domain_failing_since = models.DateTimeField(null=True, blank=True)
    database_name = models.CharField(max_length=115, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    is_active = models.BooleanField(default=True)
    # From this moment on the worker may remove it with all that it has (tenancy.deletion).
    deletes_at = models.DateTimeField(null=True, blank=True)
    subscription_tier = models.CharField(max_length=20, choices=Tier.choices, default=Tier.BASIC)
    max_devices = models.PositiveIntegerField(default=5)
    max_users = models.PositiveIntegerField(default=10)
    storage_quota_gb = models.PositiveIntegerField(default=10)
    max_assets = models.PositiveIntegerField(default=100)
    features = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    settings = models.JSONField(default=dict, blank=True)

    class Meta:
        db_table = "tenants"
        indexes: ClassVar = [models.Index(fields=["is_active"], name="tenants_is_active")]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(slug__regex=SLUG_PATTERN), name="tenants_slug_is_a_dns_label"
            ),
            models.CheckConstraint(
                condition=models.Q(subscription_tier__in=Tier.values), name="tenants_tier"
            ),
        ]

    def __str__(self) -> str:
        """Return the slug, which is what people call a tenant."""
        return self.slug

    @property
    def url(self) -> str:
        """The tenant's address: `https://<slug>.<platform domain>`."""
        port = f":{django_settings.SITE_PORT}" if django_settings.SITE_PORT else ""
        host = f"{self.slug}.{django_settings.PLATFORM_DOMAIN}"
        return f"{django_settings.SITE_SCHEME}://{host}{port}"


ModelT_co = TypeVar("ModelT_co", bound=models.Model, covariant=True)


class TenantOwned(models.Model):
    """What every tenant-owned table has: an opaque key, its tenant, and the pair of them unique."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", db_index=False)

    class Meta:
        abstract = True
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["tenant", "id"], name="%(class)s_tenant_id_id")
        ]


def _closed(use: str) -> NoReturn:
    message = f"Django's own way of doing this is closed: use tenancy.{use}."
    raise RuntimeError(message)


class UserManager(DjangoUserManager["User"]):
    """People are made by tenancy.people; all of Django's own ways come through here."""

    def _create_user_object(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        _closed("people.create_user, which opens the door that a new person needs")


class User(AbstractUser):
    """A person. Global: the same person may belong to several tenants.

    A tenant reads its own members and a person reads their own row, by policy. The password hash
    is not here but in UserCredential, which the application role cannot select.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    password = None  # type: ignore[assignment]
    # Counts changes of the password: whatever was remembered under an older one is void.
    credential_version = models.PositiveIntegerField(default=1)

    objects: ClassVar[UserManager] = UserManager()
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        db_table = "users"
        constraints: ClassVar = [
            models.UniqueConstraint(Lower("username"), name="users_username_any_case")
        ]
        indexes: ClassVar = [models.Index(Lower("email"), name="users_by_email")]

    def set_password(self, raw_password: str | None) -> NoReturn:
        """Refuse: it would set an attribute that no column keeps."""
        del raw_password
        _closed("people.set_password")

    def set_unusable_password(self) -> NoReturn:
        """Refuse, as set_password."""
        _closed("people.set_password")

    def check_password(self, raw_password: str | None) -> NoReturn:
        """Refuse: whoever holds a person's row does not hold their password's hash."""
        del raw_password
        _closed("credentials.verify_password")

    async def acheck_password(self, raw_password: str | None) -> NoReturn:
        """Refuse, as check_password."""
        self.check_password(raw_password)

    def has_usable_password(self) -> bool:
        """Return True: nobody is made without a password."""
        return True

    def get_session_auth_hash(self) -> str:
        """Return what ends every session when the password changes, without reading the hash."""
        from tenancy.credentials import session_hash

        return session_hash(self.pk, self.credential_version)

    def get_session_auth_fallback_hash(self) -> Any:
        """Return the hashes under older secret keys: none are kept."""
        return iter(())


class UserCredential(models.Model):
    """A person's password hash: written by its owner, read only by the sign-in look-up."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="+")
    password = models.CharField(max_length=255)

    class Meta:
        db_table = "user_credentials"

    def __str__(self) -> str:
        """Return whose it is, and nothing of what it is."""
        return f"credential of {self.user_id}"


class SecondFactor(models.Model):
    """A person's second factor: an authenticator app (TOTP), and recovery codes in its place.

    The app's secret is not here: it follows from `salt` and SECRET_KEY (tenancy.second_factor).
    Until `confirmed_at` it is only begun and asked of nobody.
    """

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="+")
    salt = models.TextField()
    # The newest time step (of 30 seconds) whose code was accepted: none of it or before is again.
    last_step = models.BigIntegerField(default=0)
    # Of those that are not used.
    recovery_digests = ArrayField(models.TextField(), default=list, blank=True)
    begun_at = models.DateTimeField(default=timezone.now)
    confirmed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "second_factors"

    def __str__(self) -> str:
        """Return whose it is, and nothing of what it is."""
        return f"second factor of {self.user_id}"


class UserSession(models.Model):
    """A browser that somebody signed in with; ending it is deleting the row.

    The cookie names the row and is signed, so that a row alone opens nothing (tenancy.sessions). It
    is void once `credential_version` is no longer the person's.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", db_index=False)
    credential_version = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    user_agent = models.TextField(default="", blank=True)
    # What the address was part of: `203.0.113.0/24`.
    network = models.TextField(default="", blank=True)

    class Meta:
        db_table = "user_sessions"
        indexes: ClassVar = [
            models.Index(fields=["user", "last_seen_at", "id"], name="user_sessions_by_last_seen")
        ]

    def __str__(self) -> str:
        """Return whose it is, by id."""
        return f"session of {self.user_id}"


class Membership(TenantOwned):
    """A person in a tenant (the seed's TenantUser)."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(
        max_length=20, choices=[(r.value, r.value) for r in Role], default=Role.VIEWER.value
    )
    permissions = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    is_active = models.BooleanField(default=True)
    joined_at = models.DateTimeField(auto_now_add=True)
    last_access = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        db_table = "tenant_users"
        constraints: ClassVar = [
            *TenantOwned.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "user"], name="tenant_users_tenant_user"),
            models.CheckConstraint(
                condition=models.Q(role__in=[r.value for r in Role]), name="tenant_users_role"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "joined_at", "id"], name="tenant_users_by_joined"),
            models.Index(fields=["tenant", "role", "id"], name="tenant_users_by_role"),
            models.Index(
                fields=["tenant", "id"],
                name="tenant_users_inactive",
                condition=models.Q(is_active=False),
            ),
        ]

    def __str__(self) -> str:
        """Return who is what, by id."""
        return f"{self.user_id} as {self.role}"


class InvitationStatus(models.TextChoices):
    """How far an invitation has come; that one is expired is not stored."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REVOKED = "revoked"
    EXPIRED = "expired"


class Invitation(TenantOwned):
    """That somebody may join a tenant: whoever is mailed its link and has the address.

    The link's token is not kept: it follows from the key, `serial` and SECRET_KEY
    (tenancy.invitations), so that a dump of the database opens nothing.
    """

    # In lower case.
    email = models.TextField()
    role = models.CharField(max_length=20, choices=[(r.value, r.value) for r in Role])
    permissions = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    state = models.CharField(
        max_length=20, choices=InvitationStatus.choices, default=InvitationStatus.PENDING
    )
    # Counts the links that were sent: those before the last one are void.
    serial = models.PositiveIntegerField(default=1)
    token_digest = models.TextField()
    invited_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    # When the mail with the last link was handed over; null while it waits.
    sent_at = models.DateTimeField(null=True, blank=True)
    # When it was accepted, declined or revoked.
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        db_table = "invitations"
        constraints: ClassVar = [
            *TenantOwned.Meta.constraints,
            models.UniqueConstraint(
                fields=["tenant", "email"],
                condition=models.Q(state="pending"),
                name="invitations_one_pending",
            ),
            models.CheckConstraint(
                condition=models.Q(role__in=[r.value for r in Role]), name="invitations_role"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["pending", "accepted", "declined", "revoked"]),
                name="invitations_state",
            ),
        ]
        indexes: ClassVar = [
            # The look-up of a token knows no tenant yet.
            models.Index(fields=["token_digest"], name="invitations_by_digest"),
            models.Index(fields=["tenant", "created_at", "id"], name="invitations_by_created_at"),
        ]

    def __str__(self) -> str:
        """Return the address."""
        return self.email


class TenantUsage(TenantOwned):
    """What a tenant has of what its plan limits (MISSION T6).

    Counted by triggers on the tables themselves, which also refuse what would pass a limit: its
    one row is the lock that concurrent writes of a tenant queue at. Written by nothing else.
    """

    assets = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)
    # Those that are not revoked.
    devices = models.BigIntegerField(default=0)
    # Memberships that are active.
    members = models.BigIntegerField(default=0, db_default=0)

    class Meta(TenantOwned.Meta):
        db_table = "tenant_usage"
        constraints: ClassVar = [
            *TenantOwned.Meta.constraints,
            models.UniqueConstraint(fields=["tenant"], name="tenant_usage_tenant"),
        ]

    def __str__(self) -> str:
        """Return whose it is, by id."""
        return f"usage of {self.tenant_id}"


class Device(TenantOwned):
    """A player of a tenant (MISSION T8): what it may enter with, and what it last said of itself.

    Its secret is kept as a digest beside the prefix it is looked up by (tenancy.keys). A revoked
    device stays as a row, opens nothing and does not count.
    """

    name = models.TextField()
    tags = ArrayField(models.TextField(), default=list, blank=True)
    # Whether it plays only assets that carry one of its tags.
    only_tagged = models.BooleanField(default=False)
    secret_prefix = models.TextField()
    secret_digest = models.TextField()
    # What differs from the tenant's defaults, by the names of Anthias's device_settings.
    settings = models.JSONField(default=dict, blank=True)
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    revoked_at = models.DateTimeField(null=True, blank=True)
    # Its last heartbeat.
    last_seen_at = models.DateTimeField(null=True, blank=True)
    address = models.TextField(default="", blank=True)
    version = models.TextField(default="", blank=True)
    # What Anthias calls the asset it shows, empty when it shows none.
    playing = models.TextField(default="", blank=True)
    telemetry = models.JSONField(default=dict, blank=True)
    sort_name = models.GeneratedField(
        expression=Lower(Left("name", 200)),
        output_field=models.TextField(db_collation="C"),
        db_persist=True,
    )

    class Meta(TenantOwned.Meta):
        db_table = "devices"
        constraints: ClassVar = [*TenantOwned.Meta.constraints]
        indexes: ClassVar = [
            # The look-up of a secret knows no tenant yet.
            models.Index(fields=["secret_prefix"], name="devices_by_secret_prefix"),
            models.Index(fields=["tenant", "created_at", "id"], name="devices_by_created_at"),
            models.Index(fields=["tenant", "sort_name", "id"], name="devices_by_name"),
            models.Index(fields=["tenant", "revoked_at"], name="devices_by_revoked_at"),
        ]

    def __str__(self) -> str:
        """Return what people call it."""
        return self.name


class DeviceVersion(TenantOwned):
    """Counts, for each tenant, the changes in who may enter as one of its devices.

    Written by triggers on devices and tenants, and by nothing else; read by tenancy.device_memory.
    """

    version = models.BigIntegerField(default=0)

    class Meta(TenantOwned.Meta):
        db_table = "device_versions"
        constraints: ClassVar = [
            *TenantOwned.Meta.constraints,
            models.UniqueConstraint(fields=["tenant"], name="device_versions_tenant"),
        ]

    def __str__(self) -> str:
        """Return whose count it is, by id."""
        return f"version of the devices of {self.tenant_id}"


class CapabilityKey(TenantOwned):
    """An address that opens the legacy API to whoever has it: for clients that cannot sign in.

    Kept as a digest beside the prefix it is looked up by (tenancy.keys). `permissions` are all
    that it may do.
    """

    name = models.TextField()
    prefix = models.TextField()
    digest = models.TextField()
    permissions = ArrayField(models.CharField(max_length=100))
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(default=timezone.now)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        db_table = "capability_keys"
        constraints: ClassVar = [*TenantOwned.Meta.constraints]
        indexes: ClassVar = [
            # The look-up of a key knows no tenant yet.
            models.Index(fields=["prefix"], name="capability_keys_by_prefix"),
            models.Index(
                fields=["tenant", "created_at", "id"], name="capability_keys_by_created_at"
            ),
        ]

    def __str__(self) -> str:
        """Return what people call it."""
        return self.name


class KeptAnswer(TenantOwned):
    """What a write under an Idempotency-Key answered, for a day (tenancy.idempotency).

    Nothing in it can be read, or tried out, without the server's secret and the client's key.
    """

    # Of who wrote and the key.
    key_digest = models.TextField()
    # Of the whole request: another one under the same key is refused.
    request_digest = models.TextField()
    status = models.PositiveSmallIntegerField()
    # Encrypted; NULL for an answer without a body.
    answer = models.BinaryField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantOwned.Meta):
        db_table = "kept_answers"
        constraints: ClassVar = [
            *TenantOwned.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "key_digest"], name="kept_answers_key"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "created_at"], name="kept_answers_by_created_at"),
        ]

    def __str__(self) -> str:
        """Return what became of the write and when."""
        return f"{self.status} at {self.created_at:%Y-%m-%d %H:%M}"


class TenantSettings(TenantOwned):
    """How a tenant wants things (MISSION T4)."""

    default_asset_duration = models.PositiveIntegerField(default=10)
    timezone = models.CharField(max_length=64, default="UTC")
    logo_url = models.TextField(default="", blank=True)
    primary_color = models.CharField(max_length=7, default="#007bff")
    secondary_color = models.CharField(max_length=7, default="#6c757d")
    email_notifications = models.BooleanField(default=True)
    webhook_url = models.TextField(default="", blank=True)
    require_2fa = models.BooleanField(default=False)
    allowed_domains = ArrayField(models.CharField(max_length=253), default=list, blank=True)
    integrations = models.JSONField(default=dict, blank=True)
    # How players want things unless they say otherwise (tenancy.device_settings): what differs from
    # its defaults, without `default_duration`, which is the column above. `timezone` is spelt here
    # only to tell UTC that somebody chose from none.
    device_settings = models.JSONField(default=dict, db_default={}, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantOwned.Meta):
        db_table = "tenant_settings"
        constraints: ClassVar = [
            *TenantOwned.Meta.constraints,
            models.UniqueConstraint(fields=["tenant"], name="tenant_settings_tenant"),
        ]

    def __str__(self) -> str:
        """Return whose settings they are, by id."""
        return f"settings of {self.tenant_id}"


class ApiToken(TenantOwned):
    """What a program of a member's signs in with (MISSION T9), in this tenant only.

    Kept as a digest beside the prefix it is looked up by (tenancy.keys). It goes with the
    membership it was made in, and opens nothing that its owner does not hold at the moment.
    """

    name = models.TextField()
    prefix = models.TextField()
    digest = models.TextField()
    permissions = ArrayField(models.CharField(max_length=100))
    membership = models.ForeignKey(
        Membership, on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    # The membership's own person.
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", db_index=False)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    # To the minute.
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        db_table = "api_tokens"
        constraints: ClassVar = [*TenantOwned.Meta.constraints]
        indexes: ClassVar = [
            # The look-up of a token knows no tenant yet.
            models.Index(fields=["prefix"], name="api_tokens_by_prefix"),
            models.Index(fields=["tenant", "created_at", "id"], name="api_tokens_by_created_at"),
            models.Index(
                fields=["tenant", "membership", "created_at", "id"], name="api_tokens_by_member"
            ),
            models.Index(
                fields=["tenant", "expires_at"],
                name="api_tokens_unrevoked",
                condition=models.Q(revoked_at=None),
            ),
            models.Index(fields=["user"], name="api_tokens_by_user"),
        ]

    def __str__(self) -> str:
        """Return what people call it."""
        return self.name


class AuditEntry(TenantOwned):
    """That somebody changed something (MISSION T10): written by tenancy.audit, never changed.

    The application may add and read, by grant; what is older than the setting the worker removes.
    Whoever and whatever it names may be gone: it keeps ids and points at nothing.
    """

    # It goes with its tenant by the database's own cascade: the application may not delete it.
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    at = models.DateTimeField(default=timezone.now)
    actor_kind = models.TextField()
    user = models.ForeignKey(
        User,
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    device_id = models.UUIDField(null=True)
    # An API token or a capability key.
    token_id = models.UUIDField(null=True)
    credential = models.TextField()
    address = models.TextField()
    request_id = models.TextField()
    action = models.TextField(db_collation="C")
    subject = models.TextField()
    subject_id = models.TextField()
    label = models.TextField()
    # Null where there was nothing before, and where nothing is left after.
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    reason = models.TextField()
    sort_label = models.GeneratedField(
        expression=Lower(Left("label", 200)),
        output_field=models.TextField(db_collation="C"),
        db_persist=True,
    )

    class Meta(TenantOwned.Meta):
        db_table = "audit_entries"
        constraints: ClassVar = [*TenantOwned.Meta.constraints]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "at", "id"], name="audit_by_at"),
            models.Index(fields=["tenant", "user", "at", "id"], name="audit_by_user"),
            models.Index(fields=["tenant", "action", "at", "id"], name="audit_by_action"),
            models.Index(fields=["tenant", "subject", "at", "id"], name="audit_by_subject"),
            models.Index(fields=["tenant", "subject_id", "at", "id"], name="audit_by_subject_id"),
            models.Index(fields=["tenant", "credential", "at", "id"], name="audit_by_credential"),
            models.Index(fields=["tenant", "sort_label"], name="audit_by_label"),
        ]

    def __str__(self) -> str:
        """Return what was done to what, by id."""
        return f"{self.action} {self.subject_id}"


# Django looks for models in this module.
from tenancy.registry import RegisteredPerson, RegisteredTenant  # noqa: E402, F401
