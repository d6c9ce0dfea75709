"""Workloads a to e: what is asked of GraphQL, of us and of PostGraphile, in the same words.

Answers of both have the same shape once `plain` has taken the pages' edges away: PostGraphile's
fields are given our names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, cycle
from typing import TYPE_CHECKING, Any

from strawberry.relay import from_base64, to_base64

from tests.performance.load import post

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.performance.seed import Asked

FIELDS = (
    "id name uri mimetype duration isEnabled playOrder startDate endDate createdAt updatedAt tags"
)
MORE_FIELDS = (
    f"{FIELDS} assetId md5 isProcessing nocache skipAssetCheck description fileSize viewCount"
)
PAGE = "assets(first: %d, order: {field: PLAY_ORDER}) { edges { node { %s } } }"
# One asset, a page of fifty, a tenant with people and assets, a page of five hundred, a write.
READS = {
    "a": f"query($id: ID!) {{ asset(id: $id) {{ {FIELDS} }} }}",
    "b": "{ %s }" % (PAGE % (50, FIELDS)),
    "c": (
        "{ tenant { memberships(first: 10) { edges { node { role user { username } } } } "
        "assets(first: 20) { edges { node { name uri createdBy { username } } } } } }"
    ),
    "d": "{ %s }" % (PAGE % (500, MORE_FIELDS)),
}
OURS = {
    **READS,
    "e": (
        "mutation($id: ID!, $name: String!) "
        "{ updateAsset(input: {id: $id, name: $name}) { asset { id name } } }"
    ),
}
DEEP = (
    "query($after: String) { assets(first: 50, order: {field: PLAY_ORDER}, after: $after) "
    "{ edges { node { %s } } } }" % FIELDS
)
_ITS_PAGE = "{ assets: allAssets(first: %d, orderBy: PLAY_ORDER_ASC) { nodes { %s } } }"
# In the order that ours is in without being told.
ITS = {
    name: text.replace(" id ", " id: rowId ")
    for name, text in {
        "a": f"query($id: UUID!) {{ asset: assetByRowId(rowId: $id) {{ {FIELDS} }} }}",
        "b": _ITS_PAGE % (50, FIELDS),
        "c": (
            "query($tenant: UUID!) { tenant: tenantByRowId(rowId: $tenant) { "
            "memberships: tenantUsersByTenantId(first: 10, orderBy: JOINED_AT_ASC) "
            "{ nodes { role user: userByUserId { username } } } "
            "assets: assetsByTenantId(first: 20, orderBy: CREATED_AT_ASC) "
            "{ nodes { name uri createdBy: userByCreatedById { username } } } } }"
        ),
        "d": _ITS_PAGE % (500, MORE_FIELDS),
        "e": (
            "mutation($id: UUID!, $name: String!) { updateAsset: updateAssetByRowId("
            "input: {rowId: $id, assetPatch: {name: $name}}) { asset { id name } } }"
        ),
    }.items()
}
# Another each time, so that each writes.
_NAME = "Board %d"
# Part of an answer that has what was asked for, and of no other.
_MARKS = {
    "a": b'"uri":',
    "b": b'"uri":',
    "c": b'"username":',
    "d": b'"uri":',
    "e": b'"name":"Board ',
}


@dataclass(frozen=True, slots=True)
class Side:
    """Who is asked: us, or PostGraphile; how its requests are written."""

    name: str
    documents: dict[str, str]
    is_ours: bool

    def headers(self, asked: Asked) -> dict[str, str]:
        """Return the headers of a request for that tenant's data."""
        if self.is_ours:
            return {"Host": "localhost", "Authorization": f"Bearer {asked.token}"}
        # It believes whoever asks; no setting of a person is part of what the wall wants here.
        return {"Host": "localhost", "X-Tenant": str(asked.tenant), "X-User": ""}

    def body(self, workload: str, asked: Asked, number: int) -> bytes:
        """Return the JSON of one request; `number` says for which asset, and what to call it."""
        key = asked.assets[number * 7 % len(asked.assets)]
        variables = {
            "a": {"id": to_base64("Asset", key) if self.is_ours else str(key)},
            "c": {} if self.is_ours else {"tenant": str(asked.tenant)},
        }
        variables["e"] = {**variables["a"], "name": _NAME % number}
        text = self.documents[workload]
        return json.dumps({"query": text, "variables": variables.get(workload, {})}).encode()

    def requests(self, workload: str, tenants: Sequence[Asked]) -> Iterator[bytes]:
        """Yield requests without end, of one tenant after the other."""
        if workload == "e":
            for number in count(int(datetime.now(UTC).timestamp() * 1000)):
                asked = tenants[number % len(tenants)]
                yield post(self.headers(asked), self.body(workload, asked, number))
        yield from cycle(
            [
                post(self.headers(asked), self.body(workload, asked, number))
                for number in range(64 if workload == "a" else 1)
                for asked in tenants
            ]
        )


SIGNATE = Side("Signate", OURS, is_ours=True)
POSTGRAPHILE = Side("PostGraphile", ITS, is_ours=False)


def is_right(workload: str, body: bytes) -> bool:
    """Return whether an answer has data and no errors, without parsing it."""
    return _MARKS[workload] in body and b'"errors"' not in body


def plain(value: Any, name: str = "") -> Any:
    """Return an answer's data as both sides would have it: keys, instants and numbers as such."""
    if isinstance(value, dict):
        if "edges" in value:
            return [plain(edge["node"]) for edge in value["edges"]]
        if "nodes" in value:
            return [plain(node) for node in value["nodes"]]
        return {key: plain(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return _plain_text(value, name) if isinstance(value, str) else value


def _plain_text(text: str, name: str) -> Any:
    if name == "id":
        # A key by itself has hyphens, which base64 has not.
        return text if "-" in text else from_base64(text)[1]
    if name.endswith(("Date", "At")):
        return datetime.fromisoformat(text).astimezone(UTC)
    if name in {"duration", "fileSize", "viewCount"}:
        return int(text)
    return text.lower() if name == "role" else text
