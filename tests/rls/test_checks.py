"""System checks: a model that escapes the wall fails `manage.py check`, without a database."""

from __future__ import annotations

from typing import ClassVar

from django.core.management import call_command
from django.db import models
from django.db.migrations import Migration
from django.db.migrations.graph import MigrationGraph
from django.test.utils import isolate_apps

from rls.checks import check_tenant_models, faults_of
from rls.declared import declared, in_order
from tenancy.models import Tenant, TenantOwned


def test_every_model_passes() -> None:
    assert check_tenant_models(None) == []
    call_command("check")


def test_the_declarations_are_read_from_the_migrations() -> None:
    known = declared()
    assert {"assets", "asset_migrations", "import_runs", "tenant_users", "tenant_settings"} <= (
        known.walls.keys()
    )
    assert known.globals["user_credentials"].select == ("user_id",)
    assert "identity_of" in known.functions


def test_declarations_are_read_in_the_order_migrations_apply() -> None:
    """By name, `a` would come first and the older declaration win."""
    graph = MigrationGraph()
    for key in (("a", "0002"), ("z", "0001"), ("a", "0001")):
        graph.add_node(key, Migration(key[1], key[0]))
    graph.add_dependency(None, ("z", "0001"), ("a", "0001"))
    graph.add_dependency(None, ("a", "0002"), ("z", "0001"))
    assert in_order(graph) == [("a", "0001"), ("z", "0001"), ("a", "0002")]


@isolate_apps("assets")
def test_a_model_without_its_wall() -> None:
    class Note(TenantOwned):
        class Meta(TenantOwned.Meta):
            app_label = "assets"

    assert [m.id for m in faults_of(Note, {})] == ["rls.E001"]
    assert 'TenantWall("Note")' in str(next(faults_of(Note, {})).hint)
    assert list(faults_of(Note, {"assets_note": ("SELECT",)})) == []


@isolate_apps("assets", "tenancy")
def test_every_other_way_out() -> None:
    class Target(TenantOwned):
        class Meta(TenantOwned.Meta):
            app_label = "assets"

    class Loose(models.Model):
        tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True)
        target = models.ForeignKey(Target, on_delete=models.CASCADE)
        code = models.TextField(unique=True)
        label = models.TextField()

        class Meta:
            app_label = "assets"
            constraints: ClassVar = [
                models.UniqueConstraint(fields=["label"], name="label_everywhere")
            ]

    walls: dict[str, tuple[str, ...]] = {"assets_loose": ("SELECT",)}
    assert [m.id for m in faults_of(Loose, walls)] == [
        "rls.E002", "rls.E003", "rls.E004", "rls.E005", "rls.E005", "rls.E006",
    ]  # fmt: skip
