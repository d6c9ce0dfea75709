"""What GraphiQL is made of: exact files of exact npm packages, with their digests.

graph.graphiql links them; project.vendor copies them at set-up. Standard library only, because
set-up runs before Django does. docs/decisions/graphiql.md says why these versions and how to
renew them; no built bundle of others is ever committed.
"""

from __future__ import annotations

from dataclasses import dataclass

# Serves the files of npm packages byte for byte, so one digest is right for both sources.
CDN = "https://cdn.jsdelivr.net/"


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file of one npm package; `integrity` is its digest as browsers write it (SRI)."""

    package: str
    version: str
    member: str
    integrity: str

    @property
    def path(self) -> str:
        """Where it lies, relative to static files as to the CDN."""
        return f"npm/{self.package}@{self.version}/{self.member}"

    @property
    def is_linked(self) -> bool:
        """Whether the page loads it; licences only accompany the copies."""
        return self.member.endswith((".js", ".css"))


# In the order the page loads them.
GRAPHIQL = (
    BundleFile(
        "graphiql",
        "4.1.2",
        "graphiql.min.css",
        "sha384-1el1QShFBnnXTx9x/Cprg82hZWKt0ry29OAYIXt05swbi0KcZDFoj0CWguMpopJr",
    ),
    BundleFile(
        "react",
        "18.3.1",
        "umd/react.production.min.js",
        "sha384-DGyLxAyjq0f9SPpVevD6IgztCFlnMF6oW/XQGmfe+IsZ8TqEiDrcHkMLKI6fiB/Z",
    ),
    BundleFile(
        "react-dom",
        "18.3.1",
        "umd/react-dom.production.min.js",
        "sha384-gTGxhz21lVGYNMcdJOyq01Edg0jhn/c22nsx0kyqP0TxaV5WVdsSH1fSDUf5YJj1",
    ),
    BundleFile(
        "graphiql",
        "4.1.2",
        "graphiql.min.js",
        "sha384-9XdHu7ajgGJziD4J1zNBKQ842Q/+zZfDv+ib1eMhZWBH6hPAs806x+Jbcf0yNO6B",
    ),
    BundleFile(
        "graphiql",
        "4.1.2",
        "LICENSE",
        "sha384-9JPX1agGTIUB7wtQt2kO3PUO7clmCJp+9e50VMjw1yd8briI77AZnMDBz5VcerBH",
    ),
    BundleFile(
        "react",
        "18.3.1",
        "LICENSE",
        "sha384-dIN5gxuW3odCH42AKpxql36fRQlrVsjCi4EJgGC2Ty8Ihkcq9cdrChEZpKhSAfks",
    ),
    BundleFile(
        "react-dom",
        "18.3.1",
        "LICENSE",
        "sha384-dIN5gxuW3odCH42AKpxql36fRQlrVsjCi4EJgGC2Ty8Ihkcq9cdrChEZpKhSAfks",
    ),
)
