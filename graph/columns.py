"""How types declare what their fields read, in one place for every road that answers them.

`column` is a column of the model, `expression` an ORM expression, `computed` a resolver together
with the columns it needs. `reading` turns a selection into a queryset of exactly those.
graph.compiled turns whole operations into SQL from the same declarations, and what only a resolver
knows is said to it by `reads` and `sql` (docs/compiled-reads.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import strawberry
import strawberry_django
from django.db import transaction
from django.db.models import Model, QuerySet
from django.db.models.expressions import Combinable
from graphql import FieldNode
from strawberry.types.base import get_object_definition
from strawberry.utils.str_converters import to_camel_case
from strawberry_django.fields.field import StrawberryDjangoField

if TYPE_CHECKING:
    from uuid import UUID

    from graph.connections import Listing
    from graph.context import Context, Info
    from graph.permissions import Needs
    from graph.selections import Selection

ModelT = TypeVar("ModelT", bound=Model)
ResolverT = TypeVar("ResolverT", bound=Callable[..., Any])
# What gives a field its value: made per operation, because "now" and the time zone are part of it.
ExpressionOf = Callable[["Context"], Combinable]


@dataclass(frozen=True, slots=True)
class Related:
    """A field that is the row of `rows` whose `by` is what the column `column` holds.

    `inside` says that it is the entered tenant's, and refused of every other.
    """

    column: str
    rows: Callable[[], QuerySet[Any]]
    by: str = "pk"
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """A field that is a page of a listing.

    `listing(context, **arguments)` is given the field's arguments but for those of the page. `of`
    names the column of the listing by which only those of the object's own row are on the page.
    `inside` says that the list is the entered tenant's, and refused of every other.
    """

    listing: Callable[..., Listing[Any]]
    inside: bool = False
    of: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A field that is a row which arguments name, or null; `rows(context, **arguments)` has it."""

    rows: Callable[..., QuerySet[Any]]


@dataclass(frozen=True, slots=True)
class Refetched:
    """A field that is whatever its one argument names: of an id, or of each of several.

    `named(argument)` gives the type and the key of each; `rows[type](context)` has those that
    there are for whoever asks.
    """

    rows: Mapping[str, Callable[..., QuerySet[Any]]]
    named: Callable[[Any], list[tuple[str, UUID | None]]]


@dataclass(frozen=True, slots=True)
class Every:
    """A field that is a list of all `rows(context)`, in their order."""

    rows: Callable[..., QuerySet[Any]]


@dataclass(frozen=True, slots=True)
class Itself:
    """A field that is the same row once more, as an object of another type.

    `with_` gives expressions that the fields of that type refer to by name. `inside` says that it
    is the entered tenant's, and refused of every other.
    """

    with_: Callable[..., Mapping[str, Any]] | None = None
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Summed:
    """A field that is one object of aggregates over all of `rows(context, **arguments)`."""

    rows: Callable[..., QuerySet[Any]]


@dataclass(frozen=True, slots=True)
class Told:
    """A field whose value follows from what the actor may do: `value(context, **arguments)`.

    `inside` says that it is told in the entered tenant, and asked anew of every other.
    """

    value: Callable[..., Any]
    inside: bool = False


# How a field can be read in SQL that does not read a column or an expression of its own.
Reads = Related | Listed | Found | Refetched | Every | Itself | Summed | Told


class Column(StrawberryDjangoField):
    """A field read from the row as it is, without strawberry_django's way through resolvers."""

    @property
    def is_basic_field(self) -> bool:
        """Whether reading the attribute is all there is to do."""
        return self.base_resolver is None

    def get_result(
        self, source: Any, info: Info | None, args: list[Any], kwargs: dict[str, Any]
    ) -> Any:
        """Return the attribute of the row, or what the resolver gives."""
        del info
        if self.base_resolver is None:
            return getattr(source, self.django_name or self.python_name)
        return self.base_resolver(*args, **kwargs)


class Keyed:
    """Gives a type its `id` from the row's key.

    strawberry_django would look up, for every id of a page, which field the key is (measured: half
    of the time that a page takes).
    """

    @classmethod
    def resolve_id(cls, root: Any, *, info: Info) -> str:
        """Return the key of a row."""
        del info
        return str(root.pk)


def column(description: str, *, name: str | None = None, of: str | None = None) -> Any:
    """Declare a field that is a column; `of` names it where it is called otherwise."""
    return strawberry_django.field(
        field_cls=Column, description=description, name=name, field_name=of
    )


def expression(description: str, value: ExpressionOf) -> Any:
    """Declare a field that PostgreSQL computes; it is an annotation of the same name."""
    return strawberry_django.field(
        field_cls=Column, description=description, metadata={"expression": value}
    )


def computed(
    description: str,
    *columns: str,
    needs: Needs | None = None,
    reads: Reads | None = None,
    sql: ExpressionOf | None = None,
) -> Callable[[ResolverT], ResolverT]:
    """Declare a field that a resolver makes from `columns` of the row and from the context.

    `reads` or `sql` say the same to whoever reads a whole operation in one statement; without
    them an operation that selects the field is left to resolvers. `needs` is what it takes to see.
    """
    metadata = {"columns": columns, "needs": needs, "reads": reads, "sql": sql}
    made: Any = strawberry_django.field(
        field_cls=Column, description=description, metadata=metadata
    )
    return cast("Callable[[ResolverT], ResolverT]", made)


def resolved(
    description: str,
    *,
    needs: Needs | None = None,
    reads: Reads | None = None,
    sql: ExpressionOf | None = None,
) -> Callable[[ResolverT], ResolverT]:
    """Declare a field, of a type that is no model's, by its resolver.

    `reads` and `sql` as in `computed`, of the row that the object is made from.
    """
    metadata = {"needs": needs, "reads": reads, "sql": sql}
    made: Any = strawberry.field(description=description, metadata=metadata)
    return cast("Callable[[ResolverT], ResolverT]", made)


def part(description: str, *, sql: ExpressionOf) -> Any:
    """Declare a field, of a type that is no model's, that whoever makes the object fills in.

    `sql` says the same of the row that the object is made from.
    """
    return strawberry.field(description=description, metadata={"sql": sql})


def query(
    description: str, *, needs: Needs | None = None, reads: Reads | None = None
) -> Callable[[ResolverT], ResolverT]:
    """Declare a root field of Query by its resolver, which takes `info`, and what it needs.

    `reads` as in `computed`.

    Beside other root fields it runs in a savepoint: a statement that fails (one that was cancelled
    for taking too long, say) must not take the others along.
    """

    def declare(resolver: ResolverT) -> ResolverT:
        @wraps(resolver)
        def shielded(*args: Any, **kwargs: Any) -> Any:
            roots = kwargs["info"].operation.selection_set.selections
            if len(roots) == 1 and isinstance(roots[0], FieldNode):
                return resolver(*args, **kwargs)
            with transaction.atomic():
                return resolver(*args, **kwargs)

        metadata = {"needs": needs, "reads": reads}
        field = strawberry.field(description=description, metadata=metadata)
        return cast("ResolverT", field(cast("ResolverT", shielded)))

    return declare


def mutation(description: str, *, needs: Needs | None = None) -> Callable[[ResolverT], ResolverT]:
    """Declare a mutation by its resolver, and what it needs."""
    made: Any = strawberry.mutation(description=description, metadata={"needs": needs})
    return cast("Callable[[ResolverT], ResolverT]", made)


@dataclass(frozen=True, slots=True)
class Declaration:
    """What one field needs: columns of the row, or an expression annotated under `attribute`."""

    attribute: str
    columns: tuple[str, ...] = ()
    expression: ExpressionOf | None = None


@cache
def declarations(type_: type) -> Mapping[str, Declaration]:
    """Return what the fields of a type need, by their names in the schema."""
    found = {}
    for field in get_object_definition(type_, strict=True).fields:
        name = field.graphql_name or to_camel_case(field.python_name)
        if "expression" in field.metadata:
            value = field.metadata["expression"]
            found[name] = Declaration(field.python_name, expression=value)
        elif "columns" in field.metadata:
            found[name] = Declaration(field.python_name, tuple(field.metadata["columns"]))
        elif isinstance(field, Column):
            attribute = field.django_name or field.python_name
            found[name] = Declaration(attribute, (attribute,))
    return found


def reading(
    type_: type, rows: QuerySet[ModelT], selection: Selection, context: Context, *also: str
) -> QuerySet[ModelT]:
    """Return `rows` with the columns and expressions that `selection` needs, and `also`."""
    known = declarations(type_)
    needed = [known[name] for name in selection if name in known]
    columns = {"id", *also, *(name for one in needed for name in one.columns)}
    annotations = {
        one.attribute: one.expression(context) for one in needed if one.expression is not None
    }
    narrowed: QuerySet[ModelT] = rows.only(*columns).annotate(**annotations)
    return narrowed
