"""The schema as documentation: nothing without a description, nothing that drifts, nothing leaked."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    build_schema,
    is_introspection_type,
    is_specified_scalar_type,
    validate_schema,
)

from assets.models import Asset, PlaybackDay
from graph import assets, columns, enums, members, nodes, playback, tenants
from graph.schema import schema
from tenancy.models import Membership, Tenant, TenantSettings, User
from tenancy.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
CORE = schema._schema


def described() -> Iterator[tuple[str, str | None]]:
    for name, type_ in CORE.type_map.items():
        if is_introspection_type(type_) or is_specified_scalar_type(type_):
            continue
        yield name, type_.description
        if isinstance(type_, GraphQLEnumType):
            for value_name, value in type_.values.items():
                yield f"{name}.{value_name}", value.description
        if isinstance(type_, GraphQLInputObjectType):
            for input_name, input_field in type_.fields.items():
                yield f"{name}.{input_name}", input_field.description
        if isinstance(type_, (GraphQLObjectType, GraphQLInterfaceType)):
            for field_name, field in type_.fields.items():
                yield f"{name}.{field_name}", field.description
                for argument_name, argument in field.args.items():
                    yield f"{name}.{field_name}({argument_name}:)", argument.description


def test_everything_has_a_description_that_is_a_sentence() -> None:
    everything = dict(described())
    assert len(everything) > 250
    wanting = {name: text for name, text in everything.items() if not text or len(text) < 8}
    assert wanting == {}


def test_the_committed_schema_is_the_one_that_is_served() -> None:
    printed = StringIO()
    call_command("export_schema", "graph.schema:schema", stdout=printed)
    committed = (ROOT / "schema.graphql").read_text(encoding="utf-8")
    assert committed == printed.getvalue(), (
        "python3 manage.py export_schema graph.schema:schema --path schema.graphql"
    )
    assert validate_schema(build_schema(committed)) == []


def test_the_schema_is_written_to_a_file_as_it_is_printed(tmp_path: Path) -> None:
    target = tmp_path / "schema.graphql"
    call_command("export_schema", "graph.schema:schema", path=target)
    assert target.read_text(encoding="utf-8") == (ROOT / "schema.graphql").read_text("utf-8")


def test_what_is_ours_alone_is_not_in_the_schema() -> None:
    fields = {
        name
        for type_ in CORE.type_map.values()
        if isinstance(type_, GraphQLObjectType)
        for name in type_.fields
    }
    assert not fields & {
        "mediaPath",
        "legacyMetadata",
        "sortName",
        "databaseName",
        "domainVerifiedAt",
        "credentialVersion",
        "password",
        "isSuperuser",
        "isStaff",
    }


def test_every_type_with_an_id_can_be_refetched() -> None:
    node: Any = CORE.type_map["Node"]
    implementing = {type_.name for type_ in CORE.get_possible_types(node)}
    with_an_id = {
        name
        for name, type_ in CORE.type_map.items()
        if isinstance(type_, GraphQLObjectType) and "id" in type_.fields
    }
    assert implementing == with_an_id == nodes.READERS.keys()


def test_every_mutation_takes_one_input_and_says_what_went_wrong() -> None:
    mutation = CORE.mutation_type
    assert mutation is not None
    for field in mutation.fields.values():
        assert list(field.args) == ["input"]
        payload = field.type.of_type
        assert str(payload.fields["errors"].type) == "[UserError!]!"
        assert len(payload.fields) == 2


def test_what_may_be_refused_may_be_null() -> None:
    """A refusal beside other fields must not take them along."""
    query = CORE.query_type
    assert query is not None
    never_refused = {"me", "tenant", "tenants", "nodes"}
    required = {
        name for name, field in query.fields.items() if isinstance(field.type, GraphQLNonNull)
    }
    assert required == never_refused


@pytest.mark.parametrize(
    ("type_", "model"),
    [
        (assets.Asset, Asset),
        (members.Membership, Membership),
        (playback.PlaybackDay, PlaybackDay),
        (members.User, User),
        (tenants.Tenant, Tenant),
        (tenants.TenantSettings, TenantSettings),
    ],
)
def test_every_declared_column_is_one(type_: type, model: type) -> None:
    known = {field.name for field in model._meta.concrete_fields}  # type: ignore[attr-defined]
    for name, needed in columns.declarations(type_).items():
        assert set(needed.columns) <= known, name
    shown: Any = CORE.type_map[type_.__name__]
    fields = shown.fields.keys() - {"id"}
    assert columns.declarations(type_).keys() == fields


def test_an_enum_cannot_be_shown_with_a_member_left_out() -> None:
    with pytest.raises(ValueError, match="exactly the members of Role"):
        enums.described(Role, "Roles.", {Role.OWNER: "Everything."})
