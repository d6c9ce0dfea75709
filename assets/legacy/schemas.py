"""The shapes of the legacy API as JSON Schema, for the OpenAPI document.

Pure. What is taken comes from the tables of fields that bodies are read by; what is answered is
named by the SQL that answers it, and described here. Strict: what is not here is not answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assets.legacy.docs import Schema, object_of, ref, text_of
from assets.legacy.fields import Field, schema_of
from assets.legacy.negotiation import FORM, JSON, MULTIPART
from assets.legacy.shapes import CREATE, MODEL_VERSIONS, UPDATE, V1, V1_1, V1_2, V2, names_of

if TYPE_CHECKING:
    from collections.abc import Mapping

NULLABLE_TEXT: Schema = {"type": ["string", "null"]}
FLAG: Schema = {"type": "boolean"}
INTEGER: Schema = {"type": "integer"}
_BIT: Schema = {"type": "integer", "enum": [0, 1]}
_INSTANT: Schema = {"type": ["string", "null"], "format": "date-time"}
_CLOCK: Schema = {"type": ["string", "null"], "examples": ["08:30:00"]}
_NAMES = {V1: "V1", V1_1: "V1_1", V1_2: "V1_2", V2: "V2"}

# What the fields of an asset mean, whether they are sent or answered.
MEANINGS: Mapping[str, str] = {
    "asset_id": "What the asset is called in addresses; 32 hexadecimal digits, or more after an "
    "import. Given by the service.",
    "name": "What people call it. Newer versions add `-1`, `-2` … to a name that is taken.",
    "uri": "Where it is: `http`, `https` or `rtsp`, or the path that `file_asset` answered. "
    "Cannot be changed later.",
    "start_date": "From when on it plays. Without an offset it is UTC; answered in the tenant's "
    "time zone.",
    "end_date": "Until when it plays, likewise.",
    "duration": "Seconds on the screen, 0 to 31536000. A video is as long as it is: send 0.",
    "mimetype": "`image`, `video`, `webpage`, `streaming`; on creation also `youtube_asset`, "
    "whose video is fetched.",
    "is_enabled": "Whether it may play at all.",
    "nocache": "Whether players fetch it anew each time.",
    "play_order": "Its place among what plays, from 0; the lowest plays first.",
    "skip_asset_check": "Whether it is accepted although its address does not answer.",
    "skip_ssl_verify": "Whether a certificate that cannot be verified is accepted.",
    "is_active": "Whether it plays at this moment: enabled, between its dates, inside its days "
    "and times.",
    "is_processing": "Whether its file is still being fetched or converted. Newer versions "
    "know by themselves and do not store it.",
    "play_days": "The weekdays it plays on, 1 is Monday and 7 Sunday.",
    "play_time_from": "From what time of day on it plays, in the tenant's time zone; together with "
    "`play_time_to`. Later than that it plays overnight.",
    "play_time_to": "Until what time of day it plays.",
    "is_reachable": "Whether its address answered when it was last looked at.",
    "last_reachability_check": "When its address was last looked at.",
    "metadata": "What is known of its file, and settings that have no field of their own.",
    "refresh_interval_s": "After how many seconds a page is loaded anew; 0 is never.",
    "custom_headers": "Headers that players send to its address: at most 20, with values of at "
    "most 4096 bytes.",
    "ext": "The extension of an uploaded file, as `file_asset` answered it.",
}
_EXAMPLES: Mapping[str, Any] = {
    "asset_id": "0f0b7c1e5d2a4c0c9c2c6a1f6f4e2b11",
    "name": "Lobby",
    "uri": "https://example.com/lobby",
    "start_date": "2026-01-01T00:00:00Z",
    "end_date": "2027-01-01T00:00:00Z",
    "mimetype": "webpage",
}


def _described(name: str, schema: Schema) -> Schema:
    example = {"examples": [_EXAMPLES[name]]} if name in _EXAMPLES else {}
    return {"description": MEANINGS[name], **example, **schema}


def _answered() -> dict[str, Schema]:
    both: dict[str, Schema] = {
        "asset_id": {"type": "string"},
        **dict.fromkeys(("name", "uri", "mimetype"), NULLABLE_TEXT),
        **dict.fromkeys(("start_date", "end_date", "last_reachability_check"), _INSTANT),
        "play_order": INTEGER,
        "metadata": {"type": "object"},
    }
    flags = ("is_enabled", "nocache", "skip_asset_check", "is_active", "is_processing")
    old = {
        **both,
        "duration": NULLABLE_TEXT,
        **dict.fromkeys((*flags, "is_reachable"), _BIT),
    }
    new = {
        **both,
        "duration": {"type": ["integer", "null"], "minimum": 0},
        **dict.fromkeys((*flags, "is_reachable", "skip_ssl_verify"), FLAG),
        "play_days": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": 7},
            "uniqueItems": True,
        },
        "play_time_from": _CLOCK,
        "play_time_to": _CLOCK,
        "refresh_interval_s": {"type": "integer", "minimum": 0, "maximum": 86_400},
        "custom_headers": {"type": "object", "additionalProperties": {"type": "string"}},
    }
    return {
        name: object_of(text, **{one: _described(one, types[one]) for one in names_of(version)})
        for name, version, types, text in (
            (
                "AssetV1",
                V1,
                old,
                "An asset of v1, v1.1 and v1.2: flags are 0 or 1, durations text.",
            ),
            ("AssetV2", V2, new, "An asset of v2."),
        )
    }


def taken(fields: Mapping[str, Field], meanings: Mapping[str, str]) -> Schema:
    """Return the schema of an object that is read by a table of fields."""
    properties = {}
    for name, one in fields.items():
        schema = schema_of(one.parse)
        if one.nullable:
            schema = {"anyOf": [schema, {"type": "null"}]}
        properties[name] = {"description": meanings[name], **schema}
    required = [name for name, one in fields.items() if one.required]
    return {
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
    }


def asset_of(version: str) -> Schema:
    """Return an asset as a version shows it."""
    return ref("AssetV2" if version == V2 else "AssetV1")


def assets_of(version: str) -> Schema:
    """Return a list of assets as a version shows them."""
    return {"type": "array", "items": asset_of(version)}


def created(version: str) -> Mapping[str, Schema]:
    """Return what makes an asset, by encoding."""
    return _encoded(version, f"NewAsset{_NAMES[version]}")


def replaced(version: str) -> Mapping[str, Schema]:
    """Return what changes an asset by PUT, by encoding."""
    return _encoded(version, f"AssetChange{_NAMES[version]}")


def patched(version: str) -> Mapping[str, Schema]:
    """Return what changes some of an asset, by encoding: nothing has to be there."""
    return _encoded(version, f"AssetPatch{_NAMES[version]}")


def _encoded(version: str, name: str) -> Mapping[str, Schema]:
    if version not in MODEL_VERSIONS:
        return dict.fromkeys((JSON, FORM, MULTIPART), ref(name))
    model: Schema = {
        "type": "string",
        "contentMediaType": JSON,
        "contentSchema": ref(name),
        "description": f"The asset as JSON text: `{name}`.",
    }
    form: Schema = {"type": "object", "properties": {"model": model}, "required": ["model"]}
    return {FORM: form, MULTIPART: form, JSON: {"anyOf": [form, model]}}


def _taken() -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for version, name in _NAMES.items():
        found[f"NewAsset{name}"] = taken(CREATE[version], MEANINGS)
        found[f"AssetChange{name}"] = taken(UPDATE[version], MEANINGS)
        if version not in MODEL_VERSIONS:
            patch = {**found[f"AssetChange{name}"]}
            del patch["required"]
            found[f"AssetPatch{name}"] = patch
    return found


_SENTENCES: Schema = {
    "description": "What is wrong with one field.",
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
    ],
}
DETAIL = object_of(detail=text_of("What is wrong, for people.", "Not found."))
_ERROR: Schema = {
    "type": "object",
    "properties": {
        "error": text_of("What is wrong."),
        "message": text_of("What to do about it."),
        "code": text_of("What is wrong, for programs.", "TENANT_REQUIRED"),
        "request_id": text_of("The id to quote when this is reported."),
    },
    "required": ["error"],
    "additionalProperties": False,
}
COMMON: Mapping[str, Schema] = {
    "Detail": DETAIL,
    "Error": _ERROR,
    "FieldErrors": {
        "type": "object",
        "description": "What is wrong, by the name of the field; `non_field_errors` is the rest. "
        "An error in a list is under its index.",
        "minProperties": 1,
        "additionalProperties": _SENTENCES,
        "examples": [{"name": ["This field is required."]}],
    },
    "Refusal": {"anyOf": [ref("Detail"), ref("Error"), ref("FieldErrors")]},
}


def shapes() -> dict[str, Schema]:
    """Return every schema of assets and refusals, by the name that references use."""
    return {**_answered(), **_taken(), **COMMON}
