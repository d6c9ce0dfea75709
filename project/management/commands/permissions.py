"""`manage.py permissions`: who may do what, every field and every REST operation, as one table.

Printed from what fields and endpoints declare (graph.permissions, assets.legacy.routing); that it
is so is tested.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.management.base import BaseCommand

from assets.legacy.openapi import every_operation
from graph.permissions import ANYBODY, INSIDE, Needs, holding, table
from graph.schema import schema
from tenancy.actors import ANONYMOUS, Actor, ActorKind, capability, device, person
from tenancy.capabilities import DEFAULT_PERMISSIONS
from tenancy.permissions import PERMISSIONS, Role, granted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.core.management.base import CommandParser

    from assets.legacy.routing import Operation

_NOBODY = UUID(int=0)
# The token that stands for all of them: each may what it lists, for as long as its owner may.
TOKEN_PERMISSIONS = ("assets.view",)
_NAME = re.compile(r"[a-z]+\.[a-z]+")
YES, NO, HIDDEN = "yes", "-", "null"


def actors() -> Mapping[str, Actor]:
    """Return one of each kind, by the name of its column; nobody that there is."""
    members = {
        role.value: Actor(
            kind=ActorKind.MEMBER,
            tenant_id=_NOBODY,
            user_id=_NOBODY,
            permissions=granted(role),
            role=role,
        )
        for role in reversed(Role)
    }
    return {
        "anonymous": ANONYMOUS,
        "elsewhere": person(_NOBODY),
        **members,
        "device": device(_NOBODY, _NOBODY),
        "token": Actor(
            kind=ActorKind.TOKEN,
            tenant_id=_NOBODY,
            user_id=_NOBODY,
            token_id=_NOBODY,
            permissions=frozenset(TOKEN_PERMISSIONS),
        ),
        "capability": capability(_NOBODY, _NOBODY, DEFAULT_PERMISSIONS),
    }


def needs_of_operation(one: Operation) -> Needs:
    """Return what a REST operation needs, as fields say it."""
    if one.admits == "anybody":
        return ANYBODY
    names = tuple(name for name in _NAME.findall(one.needs) if name in PERMISSIONS)
    also = "" if one.needs in PERMISSIONS else one.needs
    return holding(*names[:1], also=also) if names else INSIDE


def rows() -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Yield what it is, what it needs, and what each kind of actor gets."""
    kinds = actors()
    for name, needs in table(schema._schema).items():  # noqa: SLF001 -- as its own tools have it
        told = needs or Needs(also="NOT DECLARED")
        # Capability addresses open the REST API alone.
        yield (
            name,
            str(told),
            {
                kind: NO if kind == "capability" else _outcome(told, actor)
                for kind, actor in kinds.items()
            },
        )
    for one in every_operation():
        if one.admits == "player":
            gets = dict.fromkeys(kinds, NO) | {"device": YES}
            yield f"{one.method} {one.path}", one.needs, gets
            continue
        told = needs_of_operation(one)
        gets = {kind: _outcome(told, actor) for kind, actor in kinds.items()}
        # A device needs no permission for what is its own.
        if one.is_about_devices:
            gets["device"] = YES
        yield f"{one.method} {one.path}", str(told), gets


def _outcome(needs: Needs, actor: Actor) -> str:
    if needs.refusal(actor) is None:
        return YES
    return HIDDEN if needs.hides and actor.tenant_id is not None else NO


class Command(BaseCommand):
    """Prints the matrix."""

    help = (
        "Prints who may do what: roles and credentials, every GraphQL field and REST operation. "
        f"The token is one for {', '.join(TOKEN_PERMISSIONS)}; others may what they list."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Offer to print Markdown."""
        parser.add_argument("--markdown", action="store_true", help="print a Markdown table")

    def handle(self, *_: Any, **options: Any) -> None:
        """Print it."""
        lines = [("field or operation", "needs", *actors())]
        lines += [(name, needs, *gets.values()) for name, needs, gets in rows()]
        if options["markdown"]:
            lines.insert(1, tuple("---" for _ in lines[0]))
            for line in lines:
                self.stdout.write(f"| {' | '.join(line)} |")
            return
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())
