"""Who may use a field: declared beside it, so that one table says it of all.

Called by graph.columns, which fields are declared with, and by `manage.py permissions`. What is
said here is told and tested (tests/graph/test_permissions.py); the functions that fields call ask
the actor themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from graphql import GraphQLObjectType

from tenancy.actors import ActorKind
from tenancy.errors import ErrorCode
from tenancy.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphql import GraphQLField, GraphQLSchema

    from tenancy.actors import Actor


class Who(StrEnum):
    """Whom a field answers, before any permission is asked for."""

    ANYBODY = "whoever asks"
    SIGNED_IN = "whoever is signed in"
    ACCOUNT = "a person, in any tenant or none, or an API token of theirs"
    PERSON = "a person, in any tenant or none"
    INSIDE = "whoever is in the tenant"
    MEMBER = "a person who is in the tenant"
    OWNER = "an owner of the tenant, in person"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a field needs: somebody, all of `permissions`, and what `also` says in words.

    Where it `hides`, whoever does not hold them gets null instead of a refusal.
    """

    who: Who = Who.INSIDE
    permissions: tuple[str, ...] = ()
    also: str = ""
    hides: bool = False

    def refusal(self, actor: Actor) -> ErrorCode | None:
        """Return what the actor is answered instead of an answer; None where there is one."""
        if self.who is Who.ANYBODY:
            return None
        if not actor.is_signed_in:
            return ErrorCode.UNAUTHENTICATED
        anywhere = {Who.ACCOUNT, Who.PERSON, Who.SIGNED_IN}
        if self.who not in anywhere and actor.tenant_id is None:
            return ErrorCode.TENANT_REQUIRED
        is_somebody = (
            self.who in {Who.INSIDE, Who.SIGNED_IN}
            or (self.who is Who.ACCOUNT and actor.user_id is not None)
            or actor.kind is ActorKind.MEMBER
        )
        is_owner = self.who is not Who.OWNER or actor.role is Role.OWNER
        holds = all(actor.can(name) for name in self.permissions)
        return None if is_somebody and is_owner and holds else ErrorCode.FORBIDDEN

    def __str__(self) -> str:
        """Return it for people."""
        return "; ".join(filter(None, (" and ".join(self.permissions) or self.who, self.also)))


def holding(*permissions: str, also: str = "", hides: bool = False) -> Needs:
    """Return the need of all these permissions in the tenant one is in."""
    return Needs(Who.INSIDE, permissions, also, hides)


ANYBODY, SIGNED_IN, PERSON = Needs(Who.ANYBODY), Needs(Who.SIGNED_IN), Needs(Who.PERSON)
ACCOUNT = Needs(Who.ACCOUNT)
INSIDE, MEMBER, OWNER = Needs(Who.INSIDE), Needs(Who.MEMBER), Needs(Who.OWNER)


def needs_of(field: GraphQLField) -> Needs | None:
    """Return what a field of the schema declares; None where it declares nothing."""
    declared: Any = field.extensions.get("strawberry-definition")
    found: Needs | None = declared.metadata.get("needs") if declared else None
    return found


def roots(schema: GraphQLSchema) -> Iterator[tuple[str, GraphQLField]]:
    """Yield every root field, named `Query.assets`."""
    for root in (schema.query_type, schema.mutation_type, schema.subscription_type):
        if root is not None:
            yield from ((f"{root.name}.{name}", field) for name, field in root.fields.items())


def table(schema: GraphQLSchema) -> dict[str, Needs | None]:
    """Return what every root field needs, and every other field that needs something."""
    found = {name: needs_of(field) for name, field in roots(schema)}
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLObjectType):
            for name, field in type_.fields.items():
                needs = needs_of(field)
                if needs is not None:
                    found.setdefault(f"{type_.name}.{name}", needs)
    return found
