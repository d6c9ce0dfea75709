"""Documents: parsed and validated once per text, before any door is opened.

Called by graph.view, which has to know what an operation is before it may run; `Prepared` then
hands the document to the executor, so that nothing is parsed or validated twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    parse,
)
from graphql.utilities import get_operation_ast
from graphql.validation import specified_rules, validate
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from graphql import SelectionSetNode
    from strawberry import Schema

CACHED_DOCUMENTS = 512
# Executing takes more of Python's stack for each level than parsing does: what is deeper than this
# is refused before it can overflow in the middle of something. (Introspection needs about 15.)
MAX_DEPTH = 50
# Longer ones are somebody's experiment, and would fill the memory with themselves.
CACHED_LENGTH = 20_000

_RULES = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule)


@dataclass(frozen=True, slots=True)
class Checked:
    """A document, or what is wrong with it; never both."""

    document: DocumentNode | None
    errors: tuple[GraphQLError, ...] = ()


class Refused(Exception):
    """A request that will not be executed; `errors` say why."""

    def __init__(self, errors: tuple[GraphQLError, ...]) -> None:
        """Keep the errors."""
        super().__init__(errors[0].message)
        self.errors = errors


def _depth(
    selections: SelectionSetNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    known: dict[str, int],
) -> int:
    """Return how many fields lie inside each other, fragments included, each looked at once."""
    deepest = 0
    for node in selections.selections:
        if isinstance(node, FragmentSpreadNode):
            name = node.name.value
            if name not in known:
                known[name] = _depth(fragments[name].selection_set, fragments, known)
            depth = known[name]
        else:
            below = node.selection_set  # type: ignore[attr-defined]
            depth = int(isinstance(node, FieldNode))
            depth += _depth(below, fragments, known) if below else 0
        deepest = max(deepest, depth)
    return deepest


def _is_too_deep(document: DocumentNode) -> bool:
    parts = document.definitions
    fragments = {p.name.value: p for p in parts if isinstance(p, FragmentDefinitionNode)}
    known: dict[str, int] = {}
    return any(
        _depth(part.selection_set, fragments, known) > MAX_DEPTH
        for part in parts
        if isinstance(part, OperationDefinitionNode)
    )


def _check(schema: Schema, text: str) -> Checked:
    core = schema._schema  # noqa: SLF001 -- what strawberry itself validates against
    try:
        document = parse(text)
        errors = validate(core, document, _RULES, hide_suggestions=not settings.DEBUG)
        if not errors and _is_too_deep(document):
            raise RecursionError
    except GraphQLError as error:
        return Checked(None, (error,))
    except RecursionError:
        return Checked(None, (GraphQLError("The document is nested too deeply."),))
    return Checked(None, tuple(map(_blaming_the_value, errors))) if errors else Checked(document)


def _blaming_the_value(error: GraphQLError) -> GraphQLError:
    """Return an error of validation; one that a scalar broke at is the fault of its value.

    (The number of 5,000 digits that Python does not read, say.)
    """
    if error.original_error is None or isinstance(error.original_error, GraphQLError):
        return error
    return GraphQLError("This value cannot be read.", error.nodes)


_cached = lru_cache(maxsize=CACHED_DOCUMENTS)(_check)


def operation_of(
    schema: Schema, text: str, name: str | None
) -> tuple[DocumentNode, OperationDefinitionNode]:
    """Return a valid document and the operation to run; raises Refused.

    With several operations in a document, `name` says which.
    """
    checked = (_cached if len(text) <= CACHED_LENGTH else _check)(schema, text)
    if checked.document is None:
        raise Refused(checked.errors)
    operation = get_operation_ast(checked.document, name)
    if operation is None:
        message = (
            f"The document has no operation named {name!r}."
            if name
            else "Say which operation to run: `operationName`."
        )
        raise Refused((GraphQLError(message),))
    return checked.document, operation


def root_fields(document: DocumentNode, operation: OperationDefinitionNode) -> frozenset[str]:
    """Return the names of all fields that an operation asks of the root, whatever it skips."""
    fragments = {
        p.name.value: p for p in document.definitions if isinstance(p, FragmentDefinitionNode)
    }
    found, met = set(), set()
    left = [operation.selection_set]
    while left:
        for node in left.pop().selections:
            if isinstance(node, FieldNode):
                found.add(node.name.value)
            elif not isinstance(node, FragmentSpreadNode):
                left.append(node.selection_set)  # type: ignore[attr-defined]
            elif node.name.value not in met:
                met.add(node.name.value)
                left.append(fragments[node.name.value].selection_set)
    return frozenset(found)


def is_query(operation: OperationDefinitionNode) -> bool:
    """Return whether an operation only reads."""
    return operation.operation is OperationType.QUERY


class Executor(StrawberryGraphQLCoreExecutionContext):
    """Strawberry's executor, without suggestions about variables.

    Names in variables are anybody's text, and graphql-core's search for similar ones breaks at
    letters that have two in lower case (`İ`).
    """

    @classmethod
    def build(cls, *args: Any, **kwargs: Any) -> Any:
        """Return an executor, or what is wrong with the variables."""
        return super().build(*args, **{**kwargs, "hide_suggestions": True})


class Prepared(SchemaExtension):
    """Gives the executor the document that the view has parsed and validated."""

    def on_parse(self) -> Iterator[None]:
        """Put the document in place."""
        context: Any = self.execution_context.context
        self.execution_context.graphql_document = getattr(context, "document", None)
        yield

    def on_validate(self) -> Iterator[None]:
        """Say that validation has found nothing."""
        if getattr(self.execution_context.context, "document", None) is not None:
            self.execution_context.pre_execution_errors = []
        yield
