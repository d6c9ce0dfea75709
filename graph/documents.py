"""Documents: parsed, measured and validated once per text, before any door is opened.

Called by graph.view (and for sockets), which has to know what an operation is before it may run;
`Prepared` then hands the document to the executor, so that nothing is parsed or validated twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
from graphql.validation.rules import overlapping_fields_can_be_merged
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from graph.limits import (
    OverLimit,
    cost_of,
    measured,
    require_modest,
    require_readable,
    require_short,
)
from graph.measuring import sizes
from graph.shelves import Shelf
from tenancy.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from graphql import GraphQLSchema
    from strawberry import Schema

    from graph.measuring import Measured

# What a process keeps of them, in documents and in tokens (about 600 bytes each once parsed), and
# what of that one client can take.
CACHED_DOCUMENTS = 1024
CACHED_TOKENS = 100_000
CACHED_SHARE = 8
# Page sizes that are remembered of one operation.
KNOWN_SIZES = 16
# What graphql-core may compare in one document; its own number takes a second of a thousand tokens.
overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = 20_000
MAX_ERRORS = 20

_RULES = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule)


@dataclass(frozen=True, slots=True)
class Checked:
    """A document, or what is wrong with it; never both.

    `measured` is what its operations ask for: by their names, and by the sizes in the variables
    that change it (the last of those that were seen).
    """

    document: DocumentNode | None
    errors: tuple[GraphQLError, ...] = ()
    measured: dict[str, dict[tuple[object, ...], Measured]] = field(default_factory=dict)

    def find(self, name: str, variables: Mapping[str, Any]) -> Measured | None:
        """Return what the operation `name` asks for, if that is known."""
        by_sizes = self.measured.get(name)
        if not by_sizes:
            return None
        some = next(iter(by_sizes.values()))
        return by_sizes.get(sizes(some.sized_by, variables))

    def learn(self, name: str, variables: Mapping[str, Any], found: Measured) -> None:
        """Remember what the operation `name` asks for."""
        by_sizes = self.measured.get(name, {})
        if len(by_sizes) >= KNOWN_SIZES:
            by_sizes = {}
        # Never changed in place: other threads are reading.
        self.measured[name] = {**by_sizes, sizes(found.sized_by, variables): found}


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that is valid and asks for no more than it may; `cost` is what it takes."""

    document: DocumentNode
    node: OperationDefinitionNode
    cost: int


class Refused(Exception):
    """A request that will not be executed; `errors` say why."""

    def __init__(self, errors: tuple[GraphQLError, ...]) -> None:
        """Keep the errors."""
        super().__init__(errors[0].message)
        self.errors = errors


def _blaming_the_value(error: GraphQLError) -> GraphQLError:
    """Return an error of validation; one that a scalar broke at is the fault of its value.

    (The number of 5,000 digits that Python does not read, say.)
    """
    if error.original_error is None or isinstance(error.original_error, GraphQLError):
        return error
    return GraphQLError("This value cannot be read.", error.nodes)


_checked: Shelf[Checked] = Shelf(entries=CACHED_DOCUMENTS, weight=CACHED_TOKENS, share=CACHED_SHARE)


def prepare(
    schema: Schema,
    text: str,
    name: str | None = None,
    variables: Mapping[str, Any] | None = None,
    *,
    owner: str,
) -> Operation:
    """Return the operation to run, which is valid and within the limits; raises Refused.

    With several operations in a document, `name` says which. `owner` is whose part of what is kept
    of documents this one may take (limits.owner_of).
    """
    core = schema._schema  # noqa: SLF001 -- what strawberry itself validates against
    variables = variables or {}
    try:
        require_readable(variables)
        known = _checked.get(text)
        document = known.document if known else _parsed(text)
        if known and known.errors:
            raise Refused(known.errors)
        assert document is not None  # noqa: S101 -- it is that or errors
        node = _operation(document, name)
        # Before validation, which takes longer the more there is.
        found = known.find(_name_of(node), variables) if known else None
        is_new = found is None
        if found is None:
            found = measured(core, document, node, variables)
        require_modest(node, found)
    except DomainError as error:
        raise Refused((GraphQLError(error.message, original_error=error),)) from error
    if known is None:
        known = _validated(core, document)
        weight = max(document.token_count, 1)
        _checked.put(text, known, owner=owner, weight=weight)
    if known.errors:
        raise Refused(known.errors)
    if is_new:
        known.learn(_name_of(node), variables, found)
    return Operation(document, node, cost_of(found))


def forget() -> None:
    """Forget every document; for tests that change what validation says."""
    _checked.clear()


def _name_of(node: OperationDefinitionNode) -> str:
    return node.name.value if node.name else ""


def _parsed(text: str) -> DocumentNode:
    """Return a document; raises Refused, OverLimit."""
    require_short(text)
    tokens = settings.GRAPHQL_LIMITS["tokens"]
    try:
        return parse(text, max_tokens=tokens)
    except GraphQLError as error:
        if "nested too deeply" in error.message:
            raise OverLimit("The document is nested too deeply.") from None
        if "Parsing aborted" in error.message:
            raise OverLimit(f"A document has {tokens} tokens at most.") from None
        raise Refused((error,)) from None
    except RecursionError:
        raise OverLimit("The document is nested too deeply.") from None


def _operation(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    operation = get_operation_ast(document, name)
    if operation is None:
        message = (
            f"The document has no operation named {name!r}."
            if name
            else "Say which operation to run: `operationName`."
        )
        raise Refused((GraphQLError(message),))
    return operation


def _validated(core: GraphQLSchema, document: DocumentNode) -> Checked:
    try:
        errors = validate(
            core,
            document,
            _RULES,
            max_errors=MAX_ERRORS,
            hide_suggestions=not settings.DEBUG,
        )
    except RecursionError:
        return Checked(None, (GraphQLError("The document is nested too deeply."),))
    return Checked(None, tuple(map(_blaming_the_value, errors))) if errors else Checked(document)


def root_fields(operation: Operation) -> frozenset[str]:
    """Return the names of all fields that an operation asks of the root, whatever it skips."""
    parts = operation.document.definitions
    fragments = {p.name.value: p for p in parts if isinstance(p, FragmentDefinitionNode)}
    found: set[str] = set()
    met: set[str] = set()
    left = [operation.node.selection_set]
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


def is_subscription(operation: OperationDefinitionNode) -> bool:
    """Return whether an operation goes on until somebody ends it."""
    return operation.operation is OperationType.SUBSCRIPTION


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
