"""Asks every query of the suite on both roads and fails the test in which they differ.

A pytest plugin, named in tests/conftest.py. Whatever sends a query through the view, a client or a
browser before a server in this process, is answered as always; unseen by the test, the same
operation is answered on the other road as well, for the same person, at the same moment. The two
responses must be the same to the byte, with their headers. Tests of what one road does say so:
`@pytest.mark.one_road`.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.http import HttpResponse

    from graph.compiled import Answer

# So often one road is asked again before two answers count as different: somebody else's
# transaction can end between them.
PATIENCE = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--one-road",
        action="store_true",
        help="answer queries as they are asked and no second time; to measure what that takes",
    )


class Watch:
    """What was compared so far, and what differed."""

    def __init__(self) -> None:
        self.is_on = False
        self.compared = 0
        self.differences: list[str] = []
        self._lock = threading.Lock()

    def count(self) -> None:
        with self._lock:
            self.compared += 1

    @contextmanager
    def off(self) -> Iterator[None]:
        was, self.is_on = self.is_on, False
        try:
            yield
        finally:
            self.is_on = was


watch = Watch()


def watched(answer: Callable[..., Answer]) -> Callable[..., Answer]:
    """Return `answer` (graph.compiled), which also compares."""

    def both(*operation: Any, **how: Any) -> Answer:
        found = answer(*operation, **how)
        # What is asked in front of Django (with a `how`) is compared there: tests/project/test_front.py.
        if watch.is_on and found.failure is None and not how:
            difference = compared(answer, found, *operation)
            if difference:
                watch.differences.append(difference)
        return found

    return both


def compared(answer: Callable[..., Answer], found: Answer, *operation: Any) -> str:
    """Return how the roads differ in an operation; nothing when it is not compiled, or they agree."""
    from django.conf import settings

    if found.data is None and settings.COMPILED_READS:
        return ""
    with unseen():
        shown = ("", "")
        for _ in range(PATIENCE):
            if found.data is None:
                found = compiled(answer, *operation)
            if found.data is None:
                return ""
            shown = told(responded(found.data, *operation)), told(executed(*operation))
            if shown[0] == shown[1]:
                watch.count()
                return ""
            found = compiled(answer, *operation)
        _schema, text, _name, _node, values, context = operation
        return (
            f"{text}\nvariables: {values}\nactor: {context.actor}\n"
            f"compiled: {shown[0]}\nexecutor: {shown[1]}"
        )


def compiled(answer: Callable[..., Answer], *operation: Any) -> Answer:
    """Return what the compiled road gives, whether it is switched on or not."""
    from django.conf import settings

    was, settings.COMPILED_READS = settings.COMPILED_READS, True
    try:
        return answer(*operation)
    finally:
        settings.COMPILED_READS = was


def responded(data: bytes, *operation: Any) -> HttpResponse:
    """Return the view's response to what was compiled."""
    from graph.requests import respond_data

    return respond_data(operation[-1].request, data, {"cost": _cost().shown()})


def executed(*operation: Any) -> HttpResponse:
    """Return the view's response to what the executor gives."""
    from graph.context import Context
    from graph.view import GraphView
    from rls import acting_as

    schema, text, name, node, values, context = operation
    again = Context(
        request=context.request, actor=context.actor, document=context.document, now=context.now
    )
    with acting_as(context.actor, read_only=True):
        result = schema.execute_sync(
            text, variable_values=values, context_value=again, operation_name=name
        )
        return GraphView(schema=schema).conclude(context.request, node, result, _cost())


def _cost() -> Any:
    from graph.limits import Cost

    return Cost(1, None)


def told(response: HttpResponse) -> str:
    """Return all that a client is told."""
    return f"{response.status_code} {dict(response.headers)}\n{response.content.decode()}"


@contextmanager
def unseen() -> Iterator[None]:
    """Hide statements from whoever counts or refuses them."""
    from django.db import connections

    attributes = vars(connections["default"])
    hidden = {"queries_log": deque(), "force_debug_cursor": False, "execute_wrappers": []}
    kept = {name: attributes[name] for name in hidden}
    attributes.update(hidden)
    try:
        yield
    finally:
        attributes.update(kept)


@pytest.fixture(scope="session", autouse=True)
def _watched(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stand between the view and the compiled road."""
    from graph import compiled as road

    answer = road.answer
    road.answer = watched(answer)
    watch.is_on = not request.config.getoption("one_road")
    yield
    road.answer = answer


@pytest.fixture(autouse=True)
def _agreeing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that was told different things."""
    if request.node.get_closest_marker("one_road"):
        with watch.off():
            yield
    else:
        yield
    fail_on_differences()


def fail_on_differences() -> None:
    """Fail, showing what differed since the last time."""
    found, watch.differences = watch.differences, []
    if found:
        pytest.fail("The roads differ.\n" + "\n\n".join(found), pytrace=False)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell pytest-xdist's controller how much was compared."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["compared"] = watch.compared


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    watch.compared += getattr(node, "workeroutput", {}).get("compared", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"queries answered on both roads: {watch.compared}")
