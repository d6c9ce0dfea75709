"""The audit log: who did what to what, with what credential, from where (MISSION T10).

`record` is called by every write function, inside its transaction: what is rolled back was not
done, and what was done is in the log. The application may add entries and read them, by grant, and
nothing else. Never a secret: values under such names, and what looks like one, are blotted out.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from tenancy.logs import blotted, request_id
from tenancy.models import AuditEntry
from tenancy.people import is_storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from django.db.models import Model

    from tenancy.actors import Actor

BLOTTED: Final = "[secret]"
# What one entry holds at most: ids of a list, characters of a text, and of the whole as JSON.
MOST_LISTED = 100
MOST_TEXT = 1000
MOST_JSON = 16_384
MAX_DEPTH = 8

_SECRET_NAMES = re.compile(
    r"(?i)password|secret|token|digest|credential|cookie|authorization|api_?key|private"
    r"|webhook_url|recovery"
)
# Free-form objects in which people keep keys: their names are told, and no value.
_SECRET_OBJECTS = frozenset({"headers", "custom_headers", "integrations"})
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Credential(StrEnum):
    """How somebody got in: every value of `Actor.credential`, and of the log's column."""

    SESSION = "session"
    BASIC = "basic"
    TOKEN = "token"  # noqa: S105 -- a kind, not a secret
    DEVICE_SECRET = "device secret"  # noqa: S105 -- likewise
    CAPABILITY = "capability"
    COMMAND = "command"
    WORKER = "worker"


def record(
    actor: Actor,
    action: str,
    *,
    subject: str,
    subject_id: UUID | str | None = None,
    label: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
) -> None:
    """Write down that `actor` did `action` to something, as one row of the transaction at hand.

    `action` is a noun and what was done to it, in the past: `membership.role_changed`. `subject` is
    the type's name as GraphQL has it, `label` what people call the thing. `before` and `after` are
    what changed, by field; None where there was nothing, or nothing is left. Secrets in them are
    blotted out and long ones cut, so that no caller has to. Call it inside the tenant's door. What
    is done outside of every tenant (somebody's own password, say) is in no tenant's log: nothing is
    written then.
    """
    if actor.tenant_id is None:
        return
    request = request_id.get()
    AuditEntry.objects.create(
        tenant_id=actor.tenant_id,
        at=timezone.now(),
        actor_kind=actor.kind,
        user_id=actor.user_id,
        device_id=actor.device_id,
        token_id=actor.token_id,
        credential=actor.credential,
        address=actor.address,
        request_id="" if request == "-" else request,
        action=action,
        subject=subject,
        subject_id="" if subject_id is None else str(subject_id),
        label=_text(label),
        before=_values(before),
        after=_values(after),
        reason=_text(reason),
    )


def taken(row: Model, names: Iterable[str]) -> dict[str, Any]:
    """Return the fields of a row by name, as `before` and `after` have them."""
    return {name: getattr(row, name) for name in names}


def listed(keys: Sequence[Any]) -> dict[str, Any]:
    """Return how many things a change was to, and the first 100 of their ids."""
    return {"count": len(keys), "ids": [str(key) for key in keys[:MOST_LISTED]]}


def _values(values: Mapping[str, Any] | None) -> Any:
    """Return values as JSON has them, without secrets, in 16 KB."""
    if values is None:
        return None
    # Dates and ids become text, which is what is then looked through.
    plain = json.loads(json.dumps(dict(values), cls=_Encoder))
    kept = _without_secrets(plain, depth=0)
    size = len(json.dumps(kept, ensure_ascii=False))
    if size > MOST_JSON:
        return {"omitted": f"{size} characters", "fields": sorted(kept)[:MOST_LISTED]}
    return kept


class _Encoder(DjangoJSONEncoder):
    """Whatever a model's field may hold."""

    def default(self, value: Any) -> Any:
        if isinstance(value, (set, frozenset)):
            return sorted(map(str, value))
        return super().default(value)


def _without_secrets(value: Any, *, depth: int, name: str = "") -> Any:
    if value in (None, "", [], {}) or isinstance(value, bool):
        return value
    if _SECRET_NAMES.search(name) or (name in _SECRET_OBJECTS and not isinstance(value, dict)):
        return BLOTTED
    if isinstance(value, dict) and depth < MAX_DEPTH:
        parts = list(value.items())[:MOST_LISTED]
        if name in _SECRET_OBJECTS:
            return {_text(key): BLOTTED for key, _ in parts}
        return {_text(k): _without_secrets(v, depth=depth + 1, name=k) for k, v in parts}
    if isinstance(value, list) and depth < MAX_DEPTH:
        return [_without_secrets(part, depth=depth + 1) for part in value[:MOST_LISTED]]
    if isinstance(value, (dict, list)):
        value = "…"
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    text = blotted(text)
    if not is_storable(text) or "\x00" in text:
        text = _UNSTORABLE.sub("\ufffd", text)
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
