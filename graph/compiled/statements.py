r"""Statements in the making: text with parameters, from the ORM's querysets and from our own words.

While it is made, a statement is text in which `\x00<n>\x00` stands for its n-th slot: a
parameter, or a condition whose text depends on the operation. `Statement` is what remains.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.exceptions import EmptyResultSet, FieldError, FullResultSet
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Count
from django.db.models.sql.where import WhereNode

from graph.compiled.shapes import Bound, Parameter, Raw, Shape, Uncompilable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.db.models import Field, QuerySet
    from django.db.models.expressions import Combinable

    from graph.compiled.running import Execution

_PLACEHOLDER = re.compile(r"%([s%])")
_SLOT = re.compile("\x00(\\d+)\x00")
# Of how many arguments a condition keeps the text, how long (repr) they may be, and how many bytes
# one of them takes then, at most.
_KEPT = 8
_KEPT_LENGTH = 500
_KEPT_BYTES = 4_000


class Condition:
    """A condition that arguments of the operation make: the WHERE of `rows`.

    Its text is kept for the arguments that were asked last, as long as they are short.
    """

    def __init__(
        self,
        arguments: Callable[[Execution], dict[str, Any]],
        rows: Callable[..., QuerySet[Any]],
        *,
        is_looking: bool,
    ) -> None:
        """Take what reads the arguments and what makes rows of them."""
        self._arguments = arguments
        self._rows = rows
        self._is_looking = is_looking
        self._known: OrderedDict[str, tuple[str, Sequence[Any]]] = OrderedDict()

    def made(self, execution: Execution) -> tuple[str, Sequence[Any]]:
        """Return text and parameters for one operation; raises what making rows raises."""
        arguments = self._arguments(execution)
        key = repr(arguments)
        known = self._known.get(key)
        if known is None:
            shape = Shape(execution.context.actor, is_looking=self._is_looking)
            known = self._text(self._rows(shape, **arguments), shape)
            if len(key) <= _KEPT_LENGTH:
                self._known[key] = known
                if len(self._known) > _KEPT:
                    # Another thread may have been quicker.
                    with suppress(KeyError):
                        self._known.popitem(last=False)
        return known

    def _text(self, rows: QuerySet[Any], shape: Shape) -> tuple[str, Sequence[Any]]:
        del shape
        return _where(rows)


class LookUp(Condition):
    """The keys that arguments of the operation look up beforehand; NULL where nothing is."""

    def _text(self, rows: QuerySet[Any], shape: Shape) -> tuple[str, Sequence[Any]]:
        del rows
        return looked_up(shape)


def looked_up(shape: Shape) -> tuple[str, list[Any]]:
    """Return the SQL of the keys that the first narrow look-up gives, or of NULL.

    One is enough: conditions judge what it gives, and each look-up gives more than they leave.
    """
    calls = [
        f"{function}({', '.join(['%s::text[]'] * len(needles))})"
        for function, needles in shape.sought
    ]
    parameters = [list(texts) for _, needles in shape.sought for texts in needles]
    return f"coalesce({', '.join(['NULL::uuid[]', *calls])})", parameters


def _where(rows: QuerySet[Any]) -> tuple[str, Sequence[Any]]:
    """Return the WHERE of a queryset that reads one table and nothing else."""
    query = rows.query
    query.get_initial_alias()
    tables = [name for name in query.alias_map if query.alias_refcount[name]]
    if len(tables) != 1 or query.distinct or query.combinator or query.is_sliced:
        raise Uncompilable("a filter that is no condition on one table")
    compiler = query.get_compiler(DEFAULT_DB_ALIAS)
    try:
        sql, parameters = compiler.compile(query.where)
    except FullResultSet:
        return "true", ()
    except EmptyResultSet:
        return "false", ()
    return sql, parameters


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement: texts, with slots between them."""

    texts: tuple[str, ...]
    slots: tuple[Parameter | Condition, ...]
    # The parameters among them, each once.
    bound: tuple[Parameter, ...]
    # The whole of it, where no slot changes the text.
    settled: bytes | None
    # Whether its best plan is the same whatever the values are (rls.fetch_one).
    planned_once: bool = False

    @property
    def size(self) -> int:
        """How many bytes it occupies, roughly."""
        conditions = {id(slot) for slot in self.slots if isinstance(slot, Condition)}
        later = len(conditions) * _KEPT * _KEPT_BYTES
        return 2 * sum(map(len, self.texts)) + 100 * len(self.slots) + later

    def bind(self, execution: Execution) -> tuple[bytes, list[Any]]:
        """Return text and parameters for one operation; raises what its binders raise."""
        if self.settled is not None:
            return self.settled, [slot.bind(execution) for slot in self.bound]
        texts, parameters = [self.texts[0]], [slot.bind(execution) for slot in self.bound]
        numbers = {id(slot): f"${number}" for number, slot in enumerate(self.bound, 1)}
        for slot, text in zip(self.slots, self.texts[1:], strict=True):
            if isinstance(slot, Condition):
                sql, values = execution.once(slot, partial(slot.made, execution))
                texts.append(f"({_numbered(sql, values, parameters, execution)})")
            else:
                texts.append(numbers[id(slot)])
            texts.append(text)
        return "".join(texts).encode(), parameters


def _numbered(sql: str, values: Sequence[Any], parameters: list[Any], execution: Execution) -> str:
    """Return text of the ORM with numbered parameters, and add its values to `parameters`."""
    given = iter(values)

    def number(match: re.Match[str]) -> str:
        if match[1] == "%":
            return "%"
        value = next(given)
        parameters.append(value.bind(execution) if isinstance(value, Parameter) else value)
        return f"${len(parameters)}"

    return _PLACEHOLDER.sub(number, sql)


class Making:
    """One statement in the making: hands out slots and names."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._slots: list[Parameter | Condition] = []
        self._sources = 0
        # Set by whoever puts something in whose best plan depends on values.
        self.is_selective = False

    def source(self) -> str:
        """Return a name for rows that nothing else in the statement has."""
        self._sources += 1
        return f"t{self._sources}"

    def slot(self, slot: Parameter | Condition) -> str:
        """Return what stands for a slot in text."""
        self._slots.append(slot)
        return f"\x00{len(self._slots) - 1}\x00"

    def value(self, expression: Bound) -> str:
        """Return the text of a parameter."""
        return self.placed(*expression.as_sql())

    def query(self, rows: QuerySet[Any]) -> str:
        """Return the text of a queryset; `Nothing` is raised for what can have no row."""
        try:
            sql, parameters = rows.query.get_compiler(DEFAULT_DB_ALIAS).as_sql()
        except EmptyResultSet:
            raise Nothing from None
        except FieldError as error:
            raise Uncompilable(str(error)) from error
        return self.placed(sql, parameters)

    def placed(self, sql: str, parameters: Sequence[Any]) -> str:
        """Return text of the ORM with slots in the place of its parameters."""
        given = iter(parameters)

        def slot(match: re.Match[str]) -> str:
            if match[1] == "%":
                return "%"
            value = next(given)
            if not isinstance(value, Parameter):
                value = Parameter(partial(_constant, value))
            return self.slot(value)

        return _PLACEHOLDER.sub(slot, sql)

    def statement(self, text: str) -> Statement:
        """Return the finished statement."""
        parts = _SLOT.split(text)
        texts = tuple(parts[::2])
        slots = tuple(self._slots[int(number)] for number in parts[1::2])
        bound = tuple({id(slot): slot for slot in slots if isinstance(slot, Parameter)}.values())
        settled = None
        if not any(isinstance(slot, Condition) for slot in slots):
            numbers = {id(slot): f"${number}" for number, slot in enumerate(bound, 1)}
            numbered = [texts[0]]
            for slot, part in zip(slots, texts[1:], strict=True):
                numbered += [numbers[id(slot)], part]
            settled = "".join(numbered).encode()
        return Statement(texts, slots, bound, settled, planned_once=not self.is_selective)


def _constant(value: Any, _execution: Execution) -> Any:
    return value


class Nothing(Exception):
    """The ORM knows without asking that there is no such row."""


class Source:
    """Rows of one queryset as a part of a statement, with just the columns that are asked for."""

    def __init__(self, making: Making, rows: QuerySet[Any], *, is_summed: bool = False) -> None:
        """Take the rows; what is asked of them comes next.

        Of what `is_summed` only aggregates are asked: over all rows, in a single one.
        """
        self._making = making
        self._is_summed = is_summed
        self.rows = rows
        self.name = making.source()
        self._selected: dict[tuple[str, str], tuple[str, Field[Any, Any]]] = {}
        self._references: list[str] = []

    def column(self, name: str) -> tuple[str, Field[Any, Any]]:
        """Return the SQL of a column of the rows, and its field."""
        field = self.rows.model._meta.get_field(name)
        return self._select(("column", field.attname), field.attname, field)

    def key(self) -> str:
        """Return the SQL of the rows' key."""
        return self.column(self.rows.model._meta.pk.name)[0]

    def expression(self, name: str, expression: Combinable) -> tuple[str, Field[Any, Any]]:
        """Return the SQL of an expression over the rows, known by `name`, and its field."""
        known = self._selected.get(("expression", name))
        if known is not None:
            return known
        alias = f"x{len(self._selected)}_"
        self.rows = self.rows.annotate(**{alias: expression})
        if self._is_summed:
            self.rows.query.group_by = None
        field = self.rows.query.annotations[alias].output_field
        return self._select(("expression", name), alias, field)

    def _select(
        self, known_as: tuple[str, str], reference: str, field: Field[Any, Any]
    ) -> tuple[str, Field[Any, Any]]:
        if known_as not in self._selected:
            self._selected[known_as] = f"{self.name}.c{len(self._selected)}", field
            self._references.append(reference)
        return self._selected[known_as]

    def text(self) -> str:
        """Return the rows for a FROM."""
        if not self._references and self._is_summed:
            # Any aggregate: so there is one row, and what is open among the arguments is looked at.
            self.expression("count", Count("*"))
        elif not self._references:
            self.key()
        names = ", ".join(f"c{number}" for number in range(len(self._references)))
        rows = self.rows.values_list(*self._references)
        return f"({self._making.query(rows)}) AS {self.name}({names})"


def with_condition(rows: QuerySet[Any], text: str) -> QuerySet[Any]:
    """Return rows whose whole WHERE is `text`."""
    changed = rows.all()
    changed.query.where = WhereNode([Raw(text)])  # type: ignore[list-item]
    return changed
