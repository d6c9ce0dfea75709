"""What tests of accounts share: an authenticator app, a browser with cookies, a clock to turn."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from django.conf import settings
from django.core import mail
from django.core.cache import caches
from django.test import Client
from django_otp.oath import TOTP

from rls import acting_as
from tenancy import account_mail, second_factor
from tenancy.actors import operator, person
from tenancy.credentials import per_account, per_address
from tenancy.models import SecondFactor, TenantSettings
from tests.conftest import PLATFORM
from tests.world import PASSWORD

if TYPE_CHECKING:
    from uuid import UUID

    import pytest
    from django.http import HttpResponse

    from tenancy.actors import Actor
    from tests.world import Inhabited

ACME = f"acme.{PLATFORM}"
NOON = 1_800_000_000


class App:
    """An authenticator app, which knows what the QR code said and nothing else."""

    def __init__(self, uri: str) -> None:
        """Read the URI as an app does."""
        parts = urlsplit(uri)
        assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
        self.label = parts.path.lstrip("/")
        self.parameters = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.key = base64.b32decode(self.parameters["secret"])

    def code(self, at: float = NOON) -> str:
        """Return what it shows at that moment."""
        totp = TOTP(self.key)
        totp.time = at
        return f"{totp.token():06}"


def start_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test inherit the failures or the remembered credentials of another."""
    prefix = f"test:{uuid4().hex}"
    monkeypatch.setitem(settings.CACHES["default"], "KEY_PREFIX", prefix)
    monkeypatch.setattr(caches["default"], "key_prefix", prefix)
    limits = (per_account, per_address, second_factor.per_person)
    for limit in (*limits, account_mail.per_recipient, account_mail.per_sender):
        monkeypatch.setattr(limit, "_local", {})


class Clock:
    """What second factors take for the time; it stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin at NOON, with nothing counted yet."""
        start_over(monkeypatch)
        self.now = float(NOON)
        monkeypatch.setattr(second_factor, "time", lambda: self.now)

    def wait(self, steps: int = 1) -> float:
        """Let so many half minutes pass; return what time it is."""
        self.now += steps * second_factor.STEP_SECONDS
        return self.now


def enrol(actor: Actor, clock: Clock) -> tuple[App, list[str]]:
    """Give a person a second factor; return their app and their recovery codes."""
    assert actor.user_id is not None
    oneself = person(actor.user_id)
    with acting_as(oneself):
        app = App(second_factor.begin_second_factor(actor=oneself).uri)
        codes = second_factor.confirm_second_factor(actor=oneself, code=app.code(clock.now))
    clock.wait()
    return app, codes


def ask_for_second_factors(place: Inhabited) -> None:
    """Make the tenant ask its members for one."""
    with acting_as(operator(place.tenant.id)):
        assert TenantSettings.objects.update(require_2fa=True) == 1


def factor_of(user_id: UUID | None) -> dict[str, Any] | None:
    """Return the person's row, all of it."""
    assert user_id is not None
    with acting_as(person(user_id)):
        row = SecondFactor.objects.filter(user_id=user_id).values().first()
    return dict(row) if row else None


class Mailbox:
    """What was mailed; each mail is sent before the answer is, so that a test need not wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin empty."""
        self._post = account_mail.post
        monkeypatch.setattr("tenancy.recovery.post", self._sent)
        monkeypatch.setattr("tenancy.sign_up.post", self._sent)
        monkeypatch.setattr("tenancy.email_addresses.post", self._sent)

    def _sent(self, *arguments: Any) -> None:
        sent = self._post(*arguments)
        assert sent is not None
        sent.result(10)

    def take(self, to: str) -> str:
        """Return the text of the one mail there is, which went there, and empty the box."""
        [message] = mail.outbox
        mail.outbox.clear()
        assert message.to == [to]
        return str(message.body)

    def path(self, to: str) -> str:
        """Return the path of the one link in the one mail."""
        [url] = re.findall(r"https?://\S+", self.take(to))
        parts = urlsplit(url)
        assert parts.hostname == PLATFORM
        return f"{parts.path}?{parts.query}" if parts.query else parts.path


class Browser(Client):
    """A browser without scripts: it opens pages, fills in their forms and keeps its cookies."""

    def __init__(self, host: str = ACME, **headers: str) -> None:
        """Know one host."""
        super().__init__(
            enforce_csrf_checks=True,
            HTTP_HOST=host,
            headers=headers,
            raise_request_exception=False,
        )
        self.page = ""

    def open(self, path: str) -> HttpResponse:
        """Show a page."""
        return self._shown(self.get(path))

    def send(self, path: str, values: dict[str, str]) -> HttpResponse:
        """Send the form of the shown page that goes to `path`, with `values` filled in."""
        for form in re.findall(r"<form.*?</form>", self.page, re.DOTALL):
            fields = dict(re.findall(r'<input[^>]*? name="(\w+)"[^>]*? value="([^"]*)"', form))
            fixed = fields.get("step") == values.get("step", fields.get("step"))
            if f'action="{path}"' in form and fixed:
                return self._shown(self.post(path, fields | values))
        raise AssertionError(f"no form to {path} in {self.page}")

    def _shown(self, answer: Any) -> HttpResponse:
        self.page = answer.content.decode()
        return cast("HttpResponse", answer)

    def sign_in(self, username: str, password: str = PASSWORD, **more: str) -> HttpResponse:
        """Fill in the form as it was served."""
        self.open("/login/")
        return self.send("/login/", {"username": username, "password": password, **more})
