"""System checks without a database: a tenant-owned model without its wall fails `manage.py check`.

They judge models and migrations; rls.audit judges the database itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import apps as django_apps
from django.core.checks import CheckMessage, Error
from django.db.models import ForeignKey, UniqueConstraint, UUIDField

from rls.declared import declared, is_tenant_owned
from rls.names import TENANT_COLUMN
from rls.operations import has_constraint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.apps import AppConfig
    from django.db.models import Model


def _columns(model: type[Model], names: Sequence[str]) -> list[str]:
    fields = {field.name: str(field.column) for field in model._meta.local_concrete_fields}
    return [fields[name] for name in names]


def faults_of(model: type[Model], walls: dict[str, tuple[str, ...]]) -> Iterator[CheckMessage]:
    """Yield what keeps one tenant-owned model from standing behind the wall."""
    meta = model._meta
    if meta.db_table not in walls:
        yield Error(
            f"{model.__name__} has {TENANT_COLUMN} and no migration raises its wall.",
            hint=f'Add rls.TenantWall("{model.__name__}") to the migration that creates it.',
            obj=model,
            id="rls.E001",
        )
    tenant = next(f for f in meta.local_concrete_fields if f.column == TENANT_COLUMN)
    if tenant.null:
        yield Error(f"{TENANT_COLUMN} must not be null.", obj=model, id="rls.E002")
    if not isinstance(meta.pk, UUIDField):
        yield Error(
            "The primary key must be a UUID: a sequence counts across tenants.",
            obj=model,
            id="rls.E003",
        )
    for field in meta.local_concrete_fields:
        target = field.related_model
        if (
            isinstance(field, ForeignKey)
            and target is not None
            and not isinstance(target, str)
            and is_tenant_owned(target)
            and has_constraint(field)
        ):
            yield Error(
                f"{field.name} is a plain foreign key into a tenant-owned table.",
                hint="Set db_constraint=False and add rls.TenantForeignKey to the migration.",
                obj=model,
                id="rls.E004",
            )
        if field.unique and not field.primary_key:
            yield Error(
                f"{field.name} is unique across tenants.",
                hint=f"Use a UniqueConstraint that starts with {TENANT_COLUMN}.",
                obj=model,
                id="rls.E005",
            )
    uniques = [c for c in meta.constraints if isinstance(c, UniqueConstraint)]
    for constraint in uniques:
        if TENANT_COLUMN not in _columns(model, constraint.fields):
            yield Error(f"{constraint.name} is unique across tenants.", obj=model, id="rls.E005")
    if not any(_columns(model, c.fields) == [TENANT_COLUMN, "id"] for c in uniques):
        yield Error(
            f"There is no unique ({TENANT_COLUMN}, id) for composite foreign keys to point at.",
            obj=model,
            id="rls.E006",
        )


def check_tenant_models(
    app_configs: Sequence[AppConfig] | None, **_kwargs: object
) -> list[CheckMessage]:
    """Return an error for each way in which a model escapes the wall."""
    del app_configs
    models = [m for m in django_apps.get_models() if is_tenant_owned(m)]
    if not models:
        return []
    known = declared()
    return [
        message
        for model in models
        if model._meta.db_table not in known.globals
        for message in faults_of(model, known.walls)
    ]
