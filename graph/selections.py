"""What an operation selects below one field, so that a resolver reads that and nothing more.

Called by the nouns before they query. Expanded on demand, level by level and each fragment once
per level, so that no document makes it walk more than executing it would.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from graphql import (
    BooleanValueNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    VariableNode,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from graphql import SelectionNode

    from graph.context import Info


class Selection:
    """The fields selected below some field nodes that answer one response field."""

    def __init__(
        self,
        nodes: Sequence[FieldNode],
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
    ) -> None:
        """Look at nothing yet."""
        self._nodes = nodes
        self._fragments = fragments
        self._variables = variables

    @cached_property
    def fields(self) -> dict[str, list[FieldNode]]:
        """The nodes of every selected field by its name in the schema, whatever their aliases.

        Fragments on other types count too: reading a column too many is harmless.
        """
        found: dict[str, list[FieldNode]] = {}
        visited: set[str] = set()
        stack: list[SelectionNode] = [
            selected
            for node in self._nodes
            if node.selection_set
            for selected in node.selection_set.selections
        ]
        while stack:
            selected = stack.pop()
            if selected.directives and not self._is_included(selected):
                continue
            if isinstance(selected, FieldNode):
                found.setdefault(selected.name.value, []).append(selected)
            elif isinstance(selected, InlineFragmentNode):
                stack.extend(selected.selection_set.selections)
            elif isinstance(selected, FragmentSpreadNode) and selected.name.value not in visited:
                visited.add(selected.name.value)
                stack.extend(self._fragments[selected.name.value].selection_set.selections)
        return found

    def _is_included(self, selected: SelectionNode) -> bool:
        for directive in selected.directives or ():
            if directive.name.value in {"skip", "include"} and directive.arguments:
                value = directive.arguments[0].value
                if isinstance(value, VariableNode):
                    answer = bool(self._variables.get(value.name.value))
                else:
                    answer = isinstance(value, BooleanValueNode) and value.value
                if answer is (directive.name.value == "skip"):
                    return False
        return True

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def below(self, *path: str) -> Selection:
        """Return what is selected below a path of fields; empty when the path is not selected."""
        selection = self
        for name in path:
            selection = Selection(selection.fields.get(name, ()), self._fragments, self._variables)
        return selection


def selected(info: Info) -> Selection:
    """Return what is selected below the field that is being resolved."""
    raw = info._raw_info  # noqa: SLF001 -- strawberry offers a slower copy of it only
    # Strawberry gives resolvers the plain values, whatever graphql-core's types say.
    variables = cast("Mapping[str, Any]", raw.variable_values)
    return Selection(raw.field_nodes, raw.fragments, variables)
