"""The OpenAPI 3.1 document of the legacy API, at `/api/schema`.

Made of what endpoints declare; what all of them have in common is added here. It names no other
server, so that it can be read wherever this runs.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from assets.legacy import (
    assets,
    device_docs,
    file_uploads,
    player_views,
    schemas,
    settings_views,
    viewer,
)
from assets.legacy.addressing import INTERNAL_TOKEN, anybody
from assets.legacy.docs import Doc, Given, Reply, ref, text_of
from assets.legacy.endpoint import SAFE, Answer, Call, Endpoint, Method
from assets.legacy.negotiation import JSON
from assets.legacy.routing import EVERYWHERE, Operation, of_endpoint, operations, shape_version
from tenancy.idempotency import HEADER, LONGEST_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from assets.legacy.docs import Schema

_TEXT = """The REST API of Anthias, in all of its versions, for what speaks to it already. New
programs use GraphQL, at `/graphql`.

* **Versions.** v1 and v1.1 take an asset as JSON text in a field `model`, and show flags as 0 and
  1; v1.2 takes plain JSON or a form; v2 shows booleans, and has days and times. They show the same
  assets.
* **Tenants.** A tenant's own host is its API. On the platform's host a credential of one tenant
  implies it, and `X-Tenant-ID` chooses among several.
* **Methods.** HEAD is there wherever GET is, and OPTIONS everywhere, without a credential. Any
  other method is answered 405, with `Allow`.
* **Encodings.** Where a body is taken it may be JSON, a form or multipart. JSON needs no
  `Content-Type`. Names that are not known are ignored, and so are bodies of GET and DELETE.
* **Spellings.** A number may come as text and a flag in many spellings; what is answered is strict.
* **Retries.** A write with `Idempotency-Key` is done once: sent again it is answered as it was.
* **Polling.** Every answer to GET has an `ETag`; sent back as `If-None-Match`, what has not
  changed is answered 304.
"""
_SERVERS = [
    {"url": "/", "description": "This host."},
    {
        "url": "/k/{key}",
        "description": "For what cannot send a credential: a capability address, which "
        "`createCapability` of the GraphQL API makes.",
        "variables": {"key": {"default": "KEY", "description": "The key in the address."}},
    },
]
_OF_A_DEVICE = {
    "url": "/d/{device}",
    "description": "For one device.",
    "variables": {"device": {"default": "DEVICE", "description": "The device's id."}},
}
_SECURITY: Mapping[str, Schema] = {
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "A member's name and password, or a device's id and secret.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token (`sgt_…`), or a device's secret (`sgd_…`).",
    },
    "internalToken": {
        "type": "apiKey",
        "in": "header",
        "name": INTERNAL_TOKEN,
        "description": "A device's secret, as Anthias's own viewer sends it.",
    },
}
_ADMITTED: Mapping[str, list[dict[str, list[str]]]] = {
    "member": [{"basic": []}, {"bearer": []}],
    "player": [{"internalToken": []}, {"basic": []}, {"bearer": []}],
    "anybody": [{}, {"basic": []}, {"bearer": []}],
}
_PATH_NAMES: Mapping[str, Schema] = {
    "asset_id": text_of("The asset's `asset_id`.", "0f0b7c1e5d2a4c0c9c2c6a1f6f4e2b11"),
    "command": text_of("What to do.", "next", "previous", "asset&0f0b7c1e5d2a4c0c9c2c6a1f6f4e2b11"),
    "state": text_of("`on` or `off`.", "on", "off"),
    "provider": text_of("The service to import from.", "example"),
    "name": text_of("The file's name.", "0f0b7c1e5d2a4c0c9c2c6a1f6f4e2b11.png"),
}
_TENANT = Given(
    "X-Tenant-ID",
    "The tenant's slug, where the host is not one's own and the credential is good for several.",
    text_of("", "acme"),
)
_FORMAT = Given(
    "format",
    "`api` answers a page, as `Accept: text/html` does; anything but `json` and `api` is 404.",
    text_of("", enum=["json", "api"]),
    "query",
)
_KNOWN = Given("If-None-Match", "The `ETag` of what is there already.", text_of(""))
_KEY = Given(
    HEADER,
    "Any text, anew for each write: the same write with the same key is done once in a day.",
    text_of("", "3b0f2c4e", minLength=1, maxLength=LONGEST_KEY),
)
_DETAIL, _ANY = ref("Detail"), ref("Refusal")
_SECONDS = {"Retry-After": {"type": "integer", "description": "In how many seconds to try again."}}

# What may be answered before any handler is asked.
_COMMON: Mapping[int, Reply] = {
    400: Reply("The request cannot be read, or does not say which tenant it is about.", _ANY),
    401: Reply(
        "No credential, or a wrong one.",
        _DETAIL,
        headers={"WWW-Authenticate": text_of("What is asked for.", 'Basic realm="api"')},
    ),
    403: Reply(
        "The permission is missing, or the tenant is not one's own.",
        {"anyOf": [_DETAIL, ref("Error")]},
    ),
    404: Reply("`format` is neither `json` nor `api`.", _DETAIL),
    406: Reply("`Accept` names nothing that is answered.", _DETAIL, JSON),
    429: Reply(
        "Too many wrong passwords, or requests of one capability.", _DETAIL, headers=_SECONDS
    ),
    503: Reply("The service cannot answer now.", ref("Error"), headers=_SECONDS),
}
_OF_PLAYERS: Mapping[int, Reply] = {
    403: Reply(
        "Not a player's secret: no body then. Or not a player of this tenant, or a page of another "
        "site.",
        {"anyOf": [_DETAIL, ref("Error")]},
        may_be_empty=True,
    )
}
# What is not below `/api` is refused in the words of the rest of the service.
_OF_FILES: Mapping[int, Reply] = {
    401: Reply(_COMMON[401].text, {"anyOf": [_DETAIL, ref("Error")]}, headers=_COMMON[401].headers),
    429: Reply(_COMMON[429].text, {"anyOf": [_DETAIL, ref("Error")]}, headers=_COMMON[429].headers),
}
_OF_READS: Mapping[int, Reply] = {304: Reply("It has not changed.")}
_OF_BODIES: Mapping[int, Reply] = {
    413: Reply("The body is too large.", _DETAIL),
    415: Reply("The body is of a type that is not taken.", _DETAIL),
}
_OF_WRITES: Mapping[int, Reply] = {
    409: Reply(f"A request with this `{HEADER}` is under way.", _DETAIL),
    422: Reply(f"This `{HEADER}` was sent with another request.", _DETAIL),
}


# Said once, and referred to.
_SHARED_REPLIES = {
    "Unreadable": _COMMON[400],
    "NoCredential": _COMMON[401],
    "NotAllowed": _COMMON[403],
    "NoFormat": _COMMON[404],
    "NotAcceptable": _COMMON[406],
    "TooOften": _COMMON[429],
    "Away": _COMMON[503],
    "NoPlayer": _OF_PLAYERS[403],
    "Unchanged": _OF_READS[304],
    "TooLarge": _OF_BODIES[413],
    "TypeNotTaken": _OF_BODIES[415],
    "UnderWay": _OF_WRITES[409],
    "KeyOfAnother": _OF_WRITES[422],
}
_SHARED_GIVENS = {"tenant": _TENANT, "format": _FORMAT, "known": _KNOWN, "key": _KEY}


def document() -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    for one in every_operation():
        item = paths.setdefault(one.path, {})
        if one.is_about_devices:
            item["servers"] = [*_SERVERS, _OF_A_DEVICE]
        item[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Anthias API of Signate",
            "version": "v2",
            "description": _TEXT,
        },
        "servers": _SERVERS,
        "paths": paths,
        "components": {
            "schemas": {
                **schemas.shapes(),
                **assets.SHAPES,
                **file_uploads.SHAPES,
                **device_docs.SHAPES,
                **settings_views.SHAPES,
                **player_views.SHAPES,
                **viewer.SHAPES,
            },
            "responses": {
                name: _response(reply, EVERYWHERE) for name, reply in _SHARED_REPLIES.items()
            },
            "parameters": {name: _given(one) for name, one in _SHARED_GIVENS.items()},
            "securitySchemes": _SECURITY,
        },
    }


def every_operation() -> Iterator[Operation]:
    """Yield every operation, this document's own last."""
    yield from operations()
    yield from of_endpoint(SCHEMA, EVERYWHERE, "/api/schema")


def _operation(one: Operation) -> dict[str, Any]:
    doc = one.doc
    version = shape_version(one.version)
    texts = [doc.text, _needed(one)]
    found: dict[str, Any] = {
        "operationId": "_".join(
            (one.method.lower(), *one.path.replace("{", "").replace("}", "").split("/")[1:])
        ),
        "tags": [doc.tag],
        "summary": doc.summary,
        "description": "\n\n".join(filter(None, texts)),
        "parameters": [
            *(_path_name(name) for name in one.names),
            *map(_given_or_ref, _givens(one)),
        ],
        "security": _ADMITTED[one.admits],
        "responses": {
            str(status): _response_or_ref(reply, version)
            for status, reply in sorted(replies_of(one).items())
        },
    }
    if doc.body is not None:
        found["requestBody"] = {
            "description": doc.body.text,
            "required": doc.body.required,
            "content": {
                media: {"schema": schema} for media, schema in doc.body.content(version).items()
            },
        }
    if doc.deprecated:
        found["deprecated"] = True
    return found


def _needed(one: Operation) -> str:
    if one.admits == "player":
        return f"Needs {one.needs}."
    if not one.needs:
        return "Needs no credential."
    # What is said in words already is no name of a permission.
    name = one.needs if " " in one.needs else f"`{one.needs}`"
    return f"Needs {name}."


def replies_of(one: Operation) -> dict[int, Reply]:
    """Return every answer that an operation can have, by status."""
    if not one.is_negotiated:
        return {
            400: Reply(_COMMON[400].text, ref("Error"), JSON),
            403: _COMMON[403],
            429: _OF_FILES[429],
            **one.doc.replies,
        }
    found = {**_COMMON}
    if not one.path.startswith("/api/"):
        found |= _OF_FILES
    if one.admits == "player":
        found |= _OF_PLAYERS
    if one.method in SAFE:
        found |= _OF_READS
    if _takes_key(one):
        # A write with a key is read whatever it takes.
        found |= {**_OF_WRITES, 413: _OF_BODIES[413]}
        if one.doc.body is not None:
            found |= _OF_BODIES
    return {**found, **one.doc.replies}


def _takes_key(one: Operation) -> bool:
    """Return whether it is done once for a key: writes, and commands that go by GET."""
    return one.method not in SAFE or one.kind == "relayed"


def _givens(one: Operation) -> tuple[Given, ...]:
    if not one.is_negotiated:
        return (_TENANT, *one.doc.given)
    known = [_KNOWN] if one.method in SAFE else []
    key = [_KEY] if _takes_key(one) else []
    return (_TENANT, _FORMAT, *known, *key, *one.doc.given)


def _path_name(name: str) -> dict[str, Any]:
    schema = dict(_PATH_NAMES[name])
    text = schema.pop("description")
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": text,
        "schema": {**schema, "minLength": 1},
    }


def _given(one: Given) -> dict[str, Any]:
    schema = {name: value for name, value in one.schema.items() if name != "description"}
    return {"name": one.name, "in": one.where, "description": one.text, "schema": schema}


def _given_or_ref(one: Given) -> Schema:
    for name, shared in _SHARED_GIVENS.items():
        if shared is one:
            return {"$ref": f"#/components/parameters/{name}"}
    return _given(one)


def _response_or_ref(reply: Reply, version: str) -> Schema:
    for name, shared in _SHARED_REPLIES.items():
        if shared is reply:
            return {"$ref": f"#/components/responses/{name}"}
    return _response(reply, version)


def _response(reply: Reply, version: str) -> dict[str, Any]:
    found: dict[str, Any] = {"description": reply.text}
    if reply.headers:
        found["headers"] = {
            name: {
                "description": schema["description"],
                "schema": {key: value for key, value in schema.items() if key != "description"},
            }
            for name, schema in reply.headers.items()
        }
    if reply.may_be_empty:
        found["x-may-be-empty"] = True
    content = reply.content(version)
    if content:
        found["content"] = content
    return found


@cache
def _document() -> dict[str, Any]:
    return document()


def show(call: Call) -> Answer:
    """Answer the document."""
    del call
    return Answer(_document())


SCHEMA = Endpoint(
    "Schema",
    {
        "GET": Method(
            show,
            "",
            Doc(
                "About",
                "Read this document",
                {200: Reply("An OpenAPI 3.1 document.", {"type": "object"})},
                "Also at `/api/schema/`.",
            ),
            streams=True,
        )
    },
    admit=anybody,
)
