"""GraphiQL: the page a signed-in person gets who opens /graphql in a browser.

Called by graph.view. Opens no door: who asks and where is on the request, and everything else the
page asks for itself, through the endpoint like any client. The scripts are copies that set-up made
(project.vendor) or, where it could not, the same files from a CDN; graph/bundle.py pins both.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.staticfiles import finders
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.templatetags.static import static
from django.views.decorators.cache import never_cache

from graph.bundle import CDN, GRAPHIQL
from tenancy.credentials import identify
from tenancy.views import sign_in_url

if TYPE_CHECKING:
    from django.http import HttpResponse

    from tenancy.credentials import Identity
    from tenancy.middleware import SignateRequest


@dataclass(frozen=True, slots=True)
class Example:
    """A query to start from: a tab on the first visit, and an entry of the page's menu for ever."""

    title: str
    query: str
    variables: str = ""


# The first is what people see first. tests/graph/test_graphiql.py holds them to the schema.
EXAMPLES = (
    Example(
        "Assets",
        """\
# Ctrl-Enter runs it
query Assets {
  assets(first: 50) {
    totalCount
    edges {
      node {
        assetId
        name
        isActive
        playDays
      }
    }
  }
}""",
    ),
    Example(
        "Me",
        """\
# Who you are here
query Me {
  me {
    username
    permissions
    memberships {
      role
      tenant {
        name
        slug
      }
    }
  }
}""",
    ),
    Example(
        "Playlist",
        """\
# What plays now
query Playlist {
  playlist {
    now
    deadline
    assets {
      assetId
      name
      mimetype
      duration
    }
  }
}""",
    ),
    Example(
        "Create an asset",
        """\
# Adds a web page to your library
mutation CreateAsset {
  createAsset(
    input: {
      name: "Welcome"
      uri: "https://example.com/welcome"
      duration: 15
    }
  ) {
    asset {
      id
      assetId
      name
      isActive
    }
    errors {
      field
      message
      code
    }
  }
}""",
    ),
    Example(
        "Live",
        """\
# Says when assets change: leave it running, and edit
subscription Live {
  assetsChanged {
    kind
    all
    assets {
      assetId
      name
    }
  }
}""",
    ),
)


@cache
def has_copies() -> bool:
    """Return whether this process serves every file of GraphiQL itself."""
    collected = settings.STATIC_ROOT
    return all(
        finders.find(file.path) or (collected and Path(collected, file.path).is_file())
        for file in GRAPHIQL
        if file.is_linked
    )


def policy(nonce: str, sources: list[str], host: str) -> str:
    """Return the page's Content-Security-Policy; `sources` are the bundle's addresses elsewhere.

    Not every browser takes the socket of its own `host` for 'self'.
    """
    socket = f"{'wss' if settings.SITE_SCHEME == 'https' else 'ws'}://{host}"
    elsewhere = "".join(f" {source}" for source in sources)
    return "; ".join(
        (
            "default-src 'none'",
            # No inline script and no eval: GraphiQL needs neither.
            f"script-src 'self'{elsewhere}",
            # Its dialogs keep the page from scrolling with one style element, which carries the
            # nonce; every other style is set through the DOM, which no policy concerns.
            f"style-src 'self' 'nonce-{nonce}'{elsewhere}",
            # Fonts and icons lie in its stylesheet.
            "font-src data:",
            "img-src 'self' data:",
            f"connect-src 'self' {socket}",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


@never_cache
def page(request: SignateRequest) -> HttpResponse:
    """Return GraphiQL for the signed-in person of `request`, with the CSRF cookie set."""
    get_token(request)
    linked = [file for file in GRAPHIQL if file.is_linked]
    local = has_copies()
    links = [
        {
            "url": static(file.path) if local else CDN + file.path,
            # Our own copies were checked when they were made, and static storage may rewrite them.
            "integrity": "" if local else file.integrity,
            "is_style": file.path.endswith(".css"),
        }
        for file in linked
    ]
    actor = request.actor
    identity = identify(actor.user_id) if actor.user_id else None
    tenants = _enterable(identity)
    entered = next((slug for id_, slug in tenants if id_ == actor.tenant_id), "")
    nonce = token_urlsafe(16)
    context = {
        "links": links,
        "host": request.get_host(),
        "username": identity.username if identity else "",
        "role": actor.role or "",
        "entered": entered,
        # Without a tenant of its own, this host lets the person choose one per request.
        "choices": [] if actor.tenant_id else [slug for _, slug in tenants],
        "settings": {
            "nonce": nonce,
            "endpoint": request.path,
            "csrfCookie": settings.CSRF_COOKIE_NAME,
            "csrfHeader": settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-"),
            # What the browser keeps (tabs, history) is kept apart by person.
            "storage": f"signate-{actor.user_id}",
            "signIn": sign_in_url(request),
            "examples": [asdict(example) for example in EXAMPLES],
        },
    }
    response = render(request, "graph/graphiql.html", context)
    response["Content-Security-Policy"] = policy(
        nonce, [] if local else [CDN + file.path for file in linked], request.get_host()
    )
    return response


def _enterable(identity: Identity | None) -> list[tuple[object, str]]:
    if identity is None:
        return []
    return [(m.tenant_id, m.slug) for m in identity.memberships if m.tenant_is_active]
