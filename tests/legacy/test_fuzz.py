"""The legacy API, fuzzed by its own OpenAPI document: nothing fails, nothing is undocumented.

Short and the same each time in the suite; `--fuzz-examples 300` is the long run
(docs/development.md).
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from django.core import signals
from django.core.handlers.wsgi import WSGIHandler
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks as judged

from assets.legacy import adding
from assets.legacy.openapi import document
from assets.legacy.shapes import MODEL_VERSIONS
from tests.conftest import FUZZ_EXAMPLES, PLATFORM, basic
from tests.players import Player, add_player

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from schemathesis import APIOperation, Case

    from tests.world import Inhabited

    Operation = APIOperation[Any, Any, Any, Any]
    Request = Case[Any]

HOST = f"http://acme.{PLATFORM}"
# Said on purpose: not here, nobody to ask, no room.
MEANT = frozenset({501, 502, 503, 507})
CHECKS = [
    judged.status_code_conformance,
    judged.content_type_conformance,
    judged.response_headers_conformance,
    judged.response_schema_conformance,
]
load_all_checks()
SCHEMA = schemathesis.openapi.from_dict(json.loads(json.dumps(document())))
SCHEMA.app = WSGIHandler()
OPERATIONS: dict[str, Operation] = {
    result.ok().label: result.ok()
    for result in SCHEMA.get_all_operations()
    if isinstance(result, Ok)
}
# Where a path names one that is there, most of what there is to find is behind it.
THERE = {
    "asset_id": [f"{0:032x}", "only-globex"],
    "command": ["next", f"asset&{0:032x}"],
    "state": ["on"],
    "name": [f"{0:032x}.png"],
}


def cases(operation: Operation) -> st.SearchStrategy[Request]:
    """Return requests that the document allows, and some that it does not."""
    modes = (GenerationMode.POSITIVE, GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    return st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes])


def models(operation: Operation) -> st.SearchStrategy[Any] | None:
    """Return what the JSON text in a `model` says, which the generator does not look into."""
    version = operation.path.split("/")[2]
    if version not in MODEL_VERSIONS or operation.method.upper() not in {"POST", "PUT"}:
        return None
    plain = operation.label.replace(f"/{version}/", "/v1.2/")
    if plain not in OPERATIONS:
        return None
    return cases(OPERATIONS[plain]).map(lambda case: case.body)


def callers(player: Player) -> Mapping[str, dict[str, str]]:
    """Return the headers of whoever may ask."""
    text = base64.b64encode(f"{player.key}:{player.secret}".encode()).decode()
    return {
        "owner": {**basic("acme-owner"), "X-Anthias-Internal-Token": player.secret},
        "viewer": basic("acme-viewer"),
        "device": {"Authorization": f"Basic {text}"},
        "foreigner": basic("globex-owner"),
        "nobody": {},
    }


def _may_be_empty(operation: Operation, status: int) -> bool:
    """Return whether the document says that this answer may have no body."""
    said = operation.definition.raw["responses"].get(str(status), {})
    name = said.get("$ref", "").rpartition("/")[2]
    shared = SCHEMA.raw_schema["components"]["responses"]
    return bool((shared[name] if name else said).get("x-may-be-empty"))


@pytest.fixture(autouse=True)
def _one_transaction() -> Iterator[None]:
    """Leave the test's connection open between requests, as Django's own client does."""
    for signal in (signals.request_started, signals.request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (signals.request_started, signals.request_finished):
        signal.connect(close_old_connections)


@pytest.mark.parametrize("label", OPERATIONS)
def test_nothing_fails_and_nothing_is_undocumented(
    acme: Inhabited,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    published: list[str],
    label: str,
) -> None:
    del published
    # Whether an address answers is asked of nobody here.
    monkeypatch.setattr(adding, "probe", lambda *_args, **_how: None)
    examples = request.config.getoption("--fuzz-examples")
    operation = OPERATIONS[label]
    who = callers(add_player(acme))
    model = models(operation)

    @settings(
        max_examples=examples,
        derandomize=examples == FUZZ_EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(operation), data=st.data())
    def ask(case: Request, data: st.DataObject) -> None:
        for name, known in THERE.items():
            if name in case.path_parameters and data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(known))
        if model is not None and isinstance(case.body, dict) and data.draw(st.booleans()):
            said = data.draw(model)
            if isinstance(said, dict):
                case.body = {"model": json.dumps(said, default=str)}
        caller = data.draw(st.sampled_from(["owner", "owner", "owner", *who]))
        with transaction.atomic():
            response = case.call(base_url=HOST, headers=who[caller])
            transaction.set_rollback(True)
        assert b'"UNAVAILABLE"' not in response.content
        assert response.status_code < 500 or response.status_code in MEANT, response.content
        checks = CHECKS
        if not response.content and _may_be_empty(operation, response.status_code):
            checks = [judged.status_code_conformance]
        case.validate_response(response, checks=checks)

    ask()
