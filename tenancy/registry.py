"""What operators are shown of the registry: tenants and people, through look-ups of their own.

Unmanaged and read-only: each is a view over a definer function that tells nothing to a person who
is not a member of staff. Read by tenancy.admin, inside the operator's own door.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from django.db import models


class Registered(models.Model):
    """A row that is looked at and never written."""

    id = models.UUIDField(primary_key=True)

    class Meta:
        abstract = True

    def save(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse: operators write by commands (docs/decisions/operators.md)."""
        message = "The registry is only shown here."
        raise RuntimeError(message)

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse, as save."""
        self.save()


class RegisteredTenant(Registered):
    """A tenant as an operator sees it from outside."""

    slug = models.TextField()
    name = models.TextField()
    domain = models.TextField(null=True)  # noqa: DJ001 -- as in `tenants`, where it is unique
    domain_verified_at = models.DateTimeField(null=True)
    is_active = models.BooleanField()
    deletes_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    subscription_tier = models.TextField()
    max_devices = models.IntegerField()
    max_users = models.IntegerField()
    storage_quota_gb = models.IntegerField()
    max_assets = models.IntegerField()

    class Meta:
        managed = False
        db_table = "registered_tenants"
        verbose_name = "tenant"
        ordering: ClassVar = ["slug"]

    def __str__(self) -> str:
        """Return the slug."""
        return self.slug


class RegisteredPerson(Registered):
    """A person as an operator sees them: no secret, and nothing of what they belong to."""

    username = models.TextField()
    email = models.TextField()
    first_name = models.TextField()
    last_name = models.TextField()
    is_active = models.BooleanField()
    is_staff = models.BooleanField()
    date_joined = models.DateTimeField()
    last_login = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "registered_people"
        verbose_name = "person"
        verbose_name_plural = "people"
        ordering: ClassVar = ["username"]

    def __str__(self) -> str:
        """Return the name they sign in with."""
        return self.username
