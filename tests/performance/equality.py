"""That both sides give the same data, before anybody measures how fast."""

from __future__ import annotations

import http.client
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from project.management.commands.demo import HOST
from tests.performance.workloads import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.performance.seed import Asked
    from tests.performance.workloads import Side


def check_equality(
    sides: Iterable[tuple[Side, int]], workloads: Iterable[str], tenants: Iterable[Asked]
) -> None:
    """Ask every side, at its port, for the same; raises CommandError where answers differ."""
    (first, port), *others = sides
    for workload in workloads:
        for number, asked in enumerate(tenants):
            body = first.body(workload, asked, number)
            ours = data(port, first.headers(asked), body)
            for side, its_port in others:
                body = side.body(workload, asked, number)
                require_equal(workload, ours, data(its_port, side.headers(asked), body))


def require_equal(workload: str, ours: Any, its: Any) -> None:
    """Raise CommandError unless both say the same, however they spell keys, dates and numbers."""
    found = difference(plain(ours), plain(its))
    if found is not None:
        raise CommandError(f"The answers to workload {workload} differ at {found}.")
    if not any(plain(ours).values()):
        raise CommandError(f"The answers to workload {workload} are empty.")


def difference(one: Any, other: Any, where: str = "data") -> str | None:
    """Return where two values first differ, and how; None where they do not."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs = [(f"{where}.{key}", one[key], other[key]) for key in one]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [
            (f"{where}.{place}", *pair) for place, pair in enumerate(zip(one, other, strict=True))
        ]
    else:
        return None if one == other else f"{where} ({one!r:.100} and {other!r:.100})"
    return next(filter(None, (difference(a, b, there) for there, a, b in pairs)), None)


def data(port: int, headers: Mapping[str, str], body: bytes) -> Any:
    """Return the data of one answer; raises CommandError for anything but a plain success."""
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    try:
        sent = {**headers, "Content-Type": "application/json"}
        connection.request("POST", "/graphql", body, sent)
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    answer = json.loads(text) if response.status == HTTPStatus.OK else {"errors": text}
    if "errors" in answer:
        raise CommandError(f"It was answered with {response.status}: {answer['errors']!r:.2000}")
    return answer["data"]
