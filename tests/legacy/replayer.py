"""Sends recorded conversations with Anthias to this service and says where the answers differ.

A step may name what was answered before (`{a}`) and instants (`{now+2h}`, an hour of the day that
it is now in `{tz@12}`); recorded answers name ids in the order they were met (`<id1>`), instants
(`<now+2h|ISOZ>`), and what differs from run to run by its type (`<str>`).
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from django.test import TestCase

from tests.conftest import basic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client

DATA = Path(__file__).parent.parent / "data" / "anthias"
HEADERS = ("content-type", "www-authenticate", "location", "allow")
BOUNDARY = "a-boundary-of-the-replayer"

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")
_STAMP = re.compile(r"-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.tar\.gz")
_NAME = re.compile(r"\{([A-Za-z_][\w@+\-|]*)\}")


# What is in fixtures/backup.tar.gz and plays on some days of the week only, from Monday, which is 1.
PLAYS_ON = {"restored site": {1, 2}}


def scenarios() -> list[dict[str, Any]]:
    """Return every recorded conversation."""
    recorded: list[dict[str, Any]] = json.loads(
        gzip.decompress((DATA / "scenarios.json.gz").read_bytes())
    )
    return recorded


@dataclass
class Session:
    """One conversation: what was captured so far, and when it began."""

    secret: str
    start: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    captured: dict[str, Any] = field(default_factory=dict)
    instants: dict[datetime, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    # --- from recorded requests to real ones ---------------------------------------------------

    def filled(self, value: Any) -> Any:
        """Return `value` with every name in it replaced by what it stands for now."""
        if isinstance(value, dict):
            if value.keys() == {"b64"}:
                return base64.b64decode(value["b64"])
            return {self.filled(name): self.filled(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self.filled(one) for one in value]
        if not isinstance(value, str):
            return value
        text = _NAME.sub(lambda found: self._named(found[1], found[0]), value)
        return int(text.removeprefix("#int:")) if text.startswith("#int:") else text

    def _named(self, name: str, otherwise: str) -> str:
        if name in self.captured:
            return str(self.captured[name])
        if name == "internal_token":
            return self.secret
        if name.startswith("now"):
            spelt, _, shape = name.partition("|")
            ending = {"naive": "", "off": "+00:00"}.get(shape, "Z")
            return f"{self._instant(spelt):%Y-%m-%dT%H:%M:%S}{ending}"
        if name.startswith("tz@"):
            offset = self._offset(int(name[3:]))
            return f"Etc/GMT{-offset:+d}" if offset else "Etc/GMT"
        if found := re.fullmatch(r"ldow@(\d+)([+-]\d+)?", name):
            day = self.start + timedelta(hours=self._offset(int(found[1])))
            return str((day.isoweekday() + int(found[2] or 0) - 1) % 7 + 1)
        return otherwise

    def _instant(self, spelt: str) -> datetime:
        moment = self.start
        if found := re.fullmatch(r"now([+-]\d+)([smhdw])", spelt):
            moment += timedelta(**{_UNITS[found[2]]: int(found[1])})
        self.instants[moment] = spelt
        return moment

    def _offset(self, hour: int) -> int:
        """Return the offset from UTC, in hours, of where it is `hour` o'clock now."""
        offset = (hour - self.start.hour) % 24
        return offset - 24 if offset > 14 else offset

    def body(self, step: dict[str, Any]) -> tuple[bytes, str]:
        """Return the body of a step and its content type; both empty for none."""
        told = step.get("ctype") or ""
        if "json" in step:
            return json.dumps(self.filled(step["json"])).encode(), told or "application/json"
        if "form" in step:
            form = {
                name: one if isinstance(one, str) else json.dumps(one)
                for name, one in self.filled(step["form"]).items()
            }
            return urlencode(form).encode(), told or "application/x-www-form-urlencoded"
        if "files" in step:
            parts = b"".join(self._part(*one) for one in step["files"])
            kind = f"multipart/form-data; boundary={BOUNDARY}"
            return parts + f"--{BOUNDARY}--\r\n".encode(), told or kind
        raw = self.filled(step.get("raw", b""))
        return _bytes(raw), told

    def _part(self, name: str, file_name: str | None, content: Any, kind: str | None) -> bytes:
        if isinstance(content, dict) and "fixture" in content:
            data: bytes = (DATA / "fixtures" / content["fixture"]).read_bytes()
        elif isinstance(content, dict) and "slice" in content:
            fixture, start, end = content["slice"]
            data = (DATA / "fixtures" / fixture).read_bytes()[start:end]
        elif isinstance(content, dict) and "model" in content:
            data = json.dumps(self.filled(content["model"])).encode()
        else:
            data = _bytes(self.filled(content))
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
        head += f'; filename="{file_name}"' if file_name else ""
        head += f"\r\nContent-Type: {kind}" if kind else ""
        content_bytes: bytes = data
        return f"{head}\r\n\r\n".encode() + content_bytes + b"\r\n"

    # --- from real answers to recorded ones ----------------------------------------------------

    def told(self, value: Any) -> Any:
        """Return `value` with ids and instants replaced by their names."""
        if isinstance(value, dict):
            return {self.told(name): self.told(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self.told(one) for one in value]
        if not isinstance(value, str):
            return value
        if _INSTANT.fullmatch(value):
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
            near = abs(moment - self.start) < timedelta(minutes=2)
            name = self.instants.get(moment, "now~" if near else "")
            return f"<{name}|{shape_of(value)}>" if name else value
        value = _ID.sub(lambda found: self.ids.setdefault(found[0], self._next()), value)
        if value.startswith("/"):
            value = re.sub(r"^/[^\s\"']*/(?=<id\d+>|tmp)", "<ASSETDIR>/", value)
        return _STAMP.sub("-<STAMP>.tar.gz", value)

    def _next(self) -> str:
        return f"<id{len(self.ids) + 1}>"


def shape_of(value: Any) -> str:
    """Return what stands for a value that differs from run to run, without its brackets."""
    if isinstance(value, str):
        found = _INSTANT.fullmatch(value)
        if not found:
            return "str"
        zone = {"Z": "Z", None: "naive"}.get(found[2], "+hh:mm")
        return f"ISO{'.us' if found[1] else ''}{zone}"
    kinds = {bool: "bool", int: "number", float: "number", list: "list", dict: "dict"}
    return kinds.get(type(value), "null")


def blurred(value: Any, path: str) -> Any:
    """Return `value` with what lies at `path` (`a.b`, `*.x`) replaced by its type."""
    if path == "$":
        return f"<{shape_of(value)}>".replace("<number>", "<int>")
    name, _, rest = path.partition(".")
    names: list[Any] = [name] if isinstance(value, dict) else []
    if isinstance(value, list):
        names = list(range(len(value))) if name == "*" else [int(name)]
    elif name == "*":
        names = list(value)
    for one in names:
        if isinstance(value, dict) and one not in value:
            continue
        value[one] = blurred(value[one], rest) if rest else f"<{shape_of(value[one])}>"
    return value


def on_this_day(value: Any, weekday: int) -> Any:
    """Return a recorded answer as it is on another day of the week than it was recorded on."""
    if isinstance(value, list):
        return [on_this_day(one, weekday) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: on_this_day(one, weekday) for name, one in value.items()}
    days = PLAYS_ON.get(str(value.get("name")))
    if days is not None and "is_active" in value:
        # A number in the older versions.
        found["is_active"] = type(value["is_active"])(weekday in days)
    return found


def at(value: Any, path: str) -> Any:
    """Return what lies at a dotted path."""
    for name in path.split("."):
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


class Replayer:
    """Sends conversations through Django's test client, as one member of one tenant."""

    def __init__(self, client: Client, *, username: str, secret: str) -> None:
        """Speak as `username`, or with a wrong password where a step says so."""
        self.client = client
        self.username = username
        self.secret = secret
        self.published: list[str] = []

    def differences(self, scenario: dict[str, Any]) -> list[str]:
        """Return where the answers to a scenario differ from Anthias's."""
        session = Session(self.secret)
        found: list[str] = []
        for place, (step, recorded) in enumerate(
            zip(scenario["steps"], scenario["responses"], strict=True), 1
        ):
            got = self._answer(step, session)
            expected = {name: one for name, one in recorded.items() if name != "note"}
            expected = on_this_day(expected, session.start.isoweekday())
            expected.pop("hostcmd", None)
            # Players say what they show by themselves; nobody asks them.
            expected["viewer"] = [
                one for one in expected.get("viewer", []) if "current_asset_id" not in one
            ]
            where = f"step {place} {recorded['request']}"
            found += [
                f"{where} {one}"
                for one in _compare(
                    expected,
                    got,
                    is_clocked="tz" in scenario["tags"],
                    is_bug="upstream-bug" in scenario["tags"],
                )
            ]
        return found

    def _answer(self, step: dict[str, Any], session: Session) -> dict[str, Any]:
        body, kind = session.body(step)
        headers = {name: session.filled(one) for name, one in (step.get("headers") or {}).items()}
        kind = headers.pop("Content-Type", kind)
        if step.get("cred") == "bad":
            headers.setdefault("Authorization", _wrong(self.username))
        elif step.get("cred") != "none":
            headers = {**basic(self.username), **headers}
        path = quote(session.filled(step["path"]), safe="/?&=%:@!$'()*+,;~-._")
        self.published.clear()
        with TestCase.captureOnCommitCallbacks(execute=True):
            response: Any = self.client.generic(
                step["method"], path, body, content_type=kind, headers=headers
            )
        self._play()
        content = b"" if step["method"] == "HEAD" else _content(response)
        got: dict[str, Any] = {
            "request": f"{step['method']} {step['path']}",
            "status": response.status_code,
            "headers": {
                name: session.told(response[name]) for name in HEADERS if response.has_header(name)
            },
        }
        if "allow" in got["headers"]:
            got["headers"]["allow"] = ", ".join(sorted(got["headers"]["allow"].split(", ")))
        got |= self._told(step, session, response, content)
        # Anthias has another queue for these two.
        relayed = {"viewer reboot", "viewer shutdown"}
        got["viewer"] = [session.told(one) for one in self.published if one not in relayed]
        return got

    def _play(self) -> None:
        """Show what the player was told to, and say so."""
        for text in self.published:
            if text.startswith("viewer asset&"):
                self.client.post(
                    "/api/v2/device/heartbeat",
                    json.dumps({"playing": text.removeprefix("viewer asset&")}),
                    content_type="application/json",
                    headers={"X-Anthias-Internal-Token": self.secret},
                )

    def _told(
        self, step: dict[str, Any], session: Session, response: Any, content: bytes
    ) -> dict[str, Any]:
        """Return what the body of an answer says, as it is recorded."""
        kind = response.get("Content-Type", "")
        if step.get("bodymode") == "ignore":
            return {}
        if "json" in kind and content:
            answer = json.loads(content)
            for name, path in (step.get("cap") or {}).items():
                try:
                    session.captured[name] = answer if path == "$" else at(answer, path)
                except (KeyError, IndexError, TypeError):
                    session.captured[name] = f"uncaptured-{name}"
            answer = session.told(answer)
            if step.get("unordered"):
                answer = sorted(answer, key=lambda one: str(at(one, step["unordered"])))
            if step["method"] == "OPTIONS" and isinstance(answer, dict):
                answer |= dict.fromkeys({"name", "description"} & answer.keys(), "<str>")
            for path in step.get("vol") or []:
                answer = blurred(answer, path)
            return {"json": answer}
        if "html" in kind:
            return {"html": ""}
        return {"text": content.decode(errors="replace")} if content else {"empty": True}


def _wrong(username: str) -> str:
    return basic(username, "wrong")["Authorization"]


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _content(response: Any) -> bytes:
    content: bytes = b"".join(response) if response.streaming else response.content
    return content


def _compare(
    expected: dict[str, Any], got: dict[str, Any], *, is_clocked: bool, is_bug: bool
) -> Iterator[str]:
    """Yield what is different, but for what Signate does better or otherwise on purpose."""
    status = got["status"]
    if expected["status"] == 500:
        # Anthias crashed: a refusal that says why is better, and where it had stored the row, 201.
        if not 400 <= status < 500 and not (is_bug and 200 <= status < 300):
            yield f"expected a 4xx, got {status}"
        return
    if expected["status"] == 302 and "/login/" in expected["headers"].get("location", ""):
        if status != 401 or "Basic" not in got["headers"].get("www-authenticate", ""):
            yield f"expected 401 with a challenge, got {status}"
        return
    if "html" in expected:
        # Its pages are its own; that there is one, and the status, are not.
        bodies = {"html", "json", "text", "empty"}
        expected, got = (
            {
                **{name: value for name, value in one.items() if name not in bodies},
                "headers": {k: v for k, v in one["headers"].items() if k != "content-type"},
            }
            for one in (expected, got)
        )
    if is_clocked:
        expected, got = _clock_free(expected), _clock_free(got)
    yield from _unlike(expected, got, "")


def _clock_free(value: Any) -> Any:
    """Return an answer without what depends on the hour it is: days, and the offsets of dates."""
    if isinstance(value, dict):
        return {
            name: "<days>"
            if name == "play_days" and isinstance(one, list)
            else _as_utc(one)
            if name in {"start_date", "end_date"}
            else _clock_free(one)
            for name, one in value.items()
        }
    return [_clock_free(one) for one in value] if isinstance(value, list) else value


def _as_utc(value: Any) -> Any:
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        return value
    return datetime.fromisoformat(value).astimezone(UTC).isoformat()


def _unlike(expected: Any, got: Any, path: str) -> Iterator[str]:
    if type(expected) is not type(got):
        yield f"{path}: expected {expected!r:.200}, got {got!r:.200}"
    elif isinstance(expected, dict):
        yield from _unlike_objects(expected, got, path)
    elif isinstance(expected, list):
        if len(expected) != len(got):
            yield f"{path}: expected {len(expected)} items, got {len(got)}"
        for place, (one, other) in enumerate(zip(expected, got, strict=False)):
            yield from _unlike(one, other, f"{path}[{place}]")
    elif expected != got:
        yield f"{path}: expected {expected!r:.200}, got {got!r:.200}"


def _unlike_objects(expected: dict[str, Any], got: dict[str, Any], path: str) -> Iterator[str]:
    for name in sorted(expected.keys() | got.keys()):
        if name not in got:
            yield f"{path}.{name}: missing"
        elif name not in expected:
            yield f"{path}.{name}: unexpected {got[name]!r:.80}"
        else:
            yield from _unlike(expected[name], got[name], f"{path}.{name}")
    # PostgreSQL keeps metadata in an order of its own.
    is_ordered = path.startswith(".json") and not path.endswith(".metadata")
    if expected.keys() == got.keys() and is_ordered and [*expected] != [*got]:
        yield f"{path}: other order of keys: {[*got]}"
