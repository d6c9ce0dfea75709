"""How an endpoint says what it takes and answers: what the OpenAPI document is made of.

Pure. Declared beside each method of an endpoint; assets.legacy.openapi reads it. What all have in
common (credentials, negotiation, what is refused before a handler) is added there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from assets.legacy.negotiation import FORM, HTML, JSON, MULTIPART

Schema = Mapping[str, Any]
# What differs between versions of the API is said by a function of the version.
Versioned = Schema | Callable[[str], Schema]

EVERY_ENCODING = (JSON, FORM, MULTIPART)


def ref(name: str) -> Schema:
    """Return a reference to one of the document's own schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def text_of(description: str, *examples: str, **more: Any) -> Schema:
    """Return the schema of a text."""
    shown = {"examples": list(examples)} if examples else {}
    return {"type": "string", "description": description, **shown, **more}


def object_of(description: str = "", **properties: Schema) -> Schema:
    """Return the schema of an object that has all of `properties` and nothing else."""
    return {
        "type": "object",
        **({"description": description} if description else {}),
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: what it means, and its body, None for none.

    `media` is where a body is neither JSON nor the page that browsers get instead. With
    `may_be_empty` there is not always a body, which the document tells as `x-may-be-empty`.
    """

    text: str
    schema: Versioned | None = None
    media: str = ""
    headers: Mapping[str, Schema] = field(default_factory=dict)
    may_be_empty: bool = False

    def content(self, version: str) -> dict[str, Any]:
        """Return the `content` of a response object."""
        if self.schema is None:
            return {}
        schema = self.schema(version) if callable(self.schema) else self.schema
        if self.media:
            return {self.media: {"schema": schema}}
        return {JSON: {"schema": schema}, HTML: {"schema": {"type": "string"}}}


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries; `content` gives a schema for each encoding in a version."""

    text: str
    content: Callable[[str], Mapping[str, Schema]]
    required: bool = True


def body_of(
    text: str, schema: Versioned, *, media: tuple[str, ...] = EVERY_ENCODING, required: bool = True
) -> Body:
    """Return a body that is the same in each of the encodings `media`."""

    def content(version: str) -> Mapping[str, Schema]:
        found = schema(version) if callable(schema) else schema
        return dict.fromkeys(media, found)

    return Body(text, content, required)


@dataclass(frozen=True, slots=True)
class Given:
    """A header or a part of the query that a method looks at."""

    name: str
    text: str
    schema: Schema
    where: str = "header"


@dataclass(frozen=True, slots=True)
class Doc:
    """What people are told of a method of an endpoint.

    `replies` are what its handler answers; of a status that is common to all endpoints they say
    more than the common text does.
    """

    tag: str
    summary: str
    replies: Mapping[int, Reply]
    text: str = ""
    body: Body | None = None
    given: tuple[Given, ...] = ()
    deprecated: bool = False
