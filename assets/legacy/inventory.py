"""What the legacy API has, as a table for people: docs/api_inventory.md.

Called by the command api_inventory. Made from the URL configuration and the endpoints themselves,
so that it cannot say anything else than what is served.
"""

from __future__ import annotations

from assets.legacy.openapi import every_operation

_HEAD = """# API inventory

Every address of the Anthias API that this service has, made from its URL configuration:
`python3 manage.py api_inventory --write`. HEAD is there wherever GET is, and OPTIONS below `/api/`,
without a credential. Everything else below `/api/` is a page that says 404.
What each takes and answers is in the OpenAPI document, at `/api/schema`.

*kept* is answered here as Anthias answers it, *relayed* is told to the tenant's players, *refused*
says why it cannot be done. What is about devices is also there for one of them, under
`/d/<device>/api/…`; a device needs no permission for what is its own. How answers differ from
Anthias's is in [anthias-compatibility.md](anthias-compatibility.md).

| Version | Method | Path | Permission | |
|---|---|---|---|---|
"""


def inventory() -> str:
    """Return the document."""
    rows = (
        (one.version or "-", one.method, f"`{one.path}`", one.needs or "-", one.kind)
        for one in every_operation()
    )
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)
