"""What stands for an operation while it is compiled: its actor, its clock and its arguments.

Declarations are asked with a `Shape` where resolvers have a Context. It tells what is part of the
shape (permissions), turns what differs between operations into parameters, and refuses everything
else, so that nothing of one operation can stay in the statement of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from django.db.models import BooleanField, Expression, Q, UUIDField

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.db.models import Field

    from graph.compiled.running import Execution
    from graph.context import Context
    from tenancy.actors import Actor

    Binder = Callable[[Execution], Any]


class Uncompilable(Exception):
    """This operation is for the ordinary executor; the message says why."""


class LooksUp(Uncompilable):
    """Something is looked up first, for which the plan has to leave room."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a statement: what each operation binds there."""

    bind: Binder


class Bound(Expression):
    """A parameter as an expression of the ORM."""

    def __init__(
        self, bind: Binder | Parameter, output_field: Field[Any, Any], cast: str = ""
    ) -> None:
        """Keep how it is bound; `cast` names its type where PostgreSQL cannot tell."""
        super().__init__(output_field=output_field)
        self.parameter = bind if isinstance(bind, Parameter) else Parameter(bind)
        self.cast = f"::{cast}" if cast else ""

    def as_sql(self, *_args: Any, **_kwargs: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        """Return a placeholder and the parameter itself."""
        return f"%s{self.cast}", [self.parameter]


class Raw(Expression):
    """Text of ours as an expression: a column of the statement around, a condition made later."""

    def __init__(self, text: str, output_field: Field[Any, Any] | None = None) -> None:
        """Keep the text; a condition unless it says otherwise."""
        super().__init__(output_field=output_field or BooleanField())
        self.text = text

    def as_sql(self, *_args: Any, **_kwargs: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        """Return the text."""
        return self.text, []


@dataclass(frozen=True, slots=True)
class Later:
    """An argument that is given, and that each operation gives another value."""

    value: Binder


class ShapeActor:
    """The actor's part in the shape: what they may do, not who they are."""

    def __init__(self, actor: Actor) -> None:
        """Ask `actor`, whose permissions are part of the key that plans are kept under."""
        self._actor = actor
        self._tenant = Parameter(lambda execution: execution.context.actor.tenant_id)

    def can(self, permission: str) -> bool:
        """Return whether the actor holds a permission."""
        return self._actor.can(permission)

    def require(self, permission: str) -> Bound:
        """Return the entered tenant's id as a parameter; raises what Actor.require raises."""
        self._actor.require(permission)
        return self.entered()

    def entered(self) -> Bound:
        """Return the entered tenant's id as a parameter; raises what Actor.entered raises."""
        self._actor.entered()
        return Bound(self._tenant, UUIDField())

    def oneself(self) -> Bound:
        """Return the person's id as a parameter; raises what Actor.oneself raises."""
        self._actor.oneself()
        return Bound(lambda execution: execution.context.actor.user_id, UUIDField())

    @property
    def permissions(self) -> frozenset[str]:
        """What the actor may do in the entered tenant."""
        return self._actor.permissions

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse what would differ from operation to operation."""
        raise Uncompilable(f"actor.{name} is asked while compiling; use context.bound")


class Shape:
    """A Context while compiling."""

    def __init__(self, actor: Actor, *, is_looking: bool = False) -> None:
        """Take the actor whose permissions shape the statement.

        Where it is looking, `sought` collects the calls of what declarations look up.
        """
        self.actor = ShapeActor(actor)
        self.is_zoned = False
        self.is_looking = is_looking
        self.sought: list[tuple[str, tuple[Sequence[str], ...]]] = []

    def among(self, function: str, *needles: Sequence[str]) -> Q:
        """Keep what is looked up; the other conditions alone find the same, only slower."""
        if not self.is_looking:
            raise LooksUp("a declaration looks something up")
        self.sought.append((function, needles))
        return Q()

    def bound(
        self,
        value: Callable[[Context], Any],
        field: Field[Any, Any],
        *,
        zoned: bool = False,
    ) -> Bound:
        """Return `value` of the operation as a parameter."""
        self.is_zoned = self.is_zoned or zoned
        return Bound(lambda execution: value(execution.context), field)

    def made(self, make: Callable[[Any], Any], argument: Any, field: Field[Any, Any]) -> Any:
        """Return what `make` makes of an argument, as a parameter when its value is open."""
        if not isinstance(argument, Later):
            return make(argument)
        return Bound(lambda execution: make(argument.value(execution)), field)

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse what would differ from operation to operation."""
        raise Uncompilable(f"context.{name} is asked while compiling; use context.bound")
