"""One line per event, with the request's id and tenant, and never a secret.

The request middleware fills the two context variables; every logger of the process prints them.
"""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="-")
tenant_label: ContextVar[str] = ContextVar("tenant_label", default="-")

# What could open something, wherever it turns up: credentials of the Authorization header, named
# values (in queries, JSON, Python and cookies), password hashes, passwords in URLs, share links,
# invitations.
_SECRETS = re.compile(
    r"(?i)\b(basic|bearer)\s+[a-z0-9+/=._~-]{6,}"
    r"|(password|secret|token|sessionid)\w{0,32}[\"']?\s*[=:]\s*"
    r"(\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|[^\s&,;\"']+)"
    r"|\bargon2\$[^\s\"']+"
    r"|://[^/\s:@]*:[^/\s@]+@"
    r"|(?:(?<=/share/)|(?<=/invitations/))(?!-(?:\s|\Z))[^\s\"'<>]+"
    r"|\bsgi_[A-Za-z0-9_-]{43}"
)
# One of these is in whatever that finds, case folded; most lines have none of them.
_HINTS = (
    *("basic", "bearer", "password", "secret", "token", "sessionid"),
    *("argon2$", "://", "/share/", "/invitations/", "sgi_"),
)
# Whatever could end a line, move a terminal's cursor or fail to be written.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LINK = re.compile(r"(?i)(/(?:share|invitations)/).+", re.DOTALL)


def logged_path(path: str) -> str:
    """Return a path as a log may have it: what follows these two opens something."""
    return _LINK.sub(r"\1-", path)


def blotted(text: str) -> str:
    """Return text without what could open something."""
    folded = text.casefold()
    if not any(hint in folded for hint in _HINTS):
        return text
    return _SECRETS.sub("[secret]", text)


def _spelt_out(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def _printable(text: str) -> str:
    return text if text.isprintable() else _UNPRINTABLE.sub(_spelt_out, text)


class LineFormatter(logging.Formatter):
    """`time level logger request=… tenant=… message`, secrets blotted out, on one line.

    A traceback follows on lines of its own, each indented, so that nothing a client sends can pass
    for a line of the log.
    """

    def __init__(self) -> None:
        """Fix the layout."""
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s "
            "request=%(request_id)s tenant=%(tenant)s %(message)s"
        )

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- logging's name
        """Return the record's own line."""
        record.request_id = request_id.get()
        record.tenant = tenant_label.get()
        return _printable(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for `record`, and its traceback."""
        first, *more = blotted(super().format(record)).split("\n")
        return "\n    ".join([first, *map(_printable, more)])
