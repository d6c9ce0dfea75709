"""Log lines: one per event, nobody's secret in them, and nobody's forgery."""

from __future__ import annotations

import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.logs import LineFormatter, request_id, tenant_label


def line(message: str, *args: object, name: str = "signate.test", **kwargs: object) -> str:
    record = logging.LogRecord(name, logging.INFO, __file__, 1, message, args, None)
    for key, value in kwargs.items():
        setattr(record, key, value)
    return LineFormatter().format(record)


def failure(message: str) -> str:
    try:
        raise RuntimeError(message)
    except RuntimeError:
        info = sys.exc_info()
    return line("it failed", exc_info=info)


def test_a_line_carries_request_and_tenant() -> None:
    tokens = request_id.set("abc-123"), tenant_label.set("some-tenant")
    try:
        text = line("it %s", "happened")
    finally:
        request_id.reset(tokens[0])
        tenant_label.reset(tokens[1])
    assert text.endswith(" INFO signate.test request=abc-123 tenant=some-tenant it happened")
    assert line("later").endswith(" INFO signate.test request=- tenant=- later")


def test_a_loggers_name_is_told_from_the_same_word_elsewhere() -> None:
    assert " INFO I request=- tenant=- I saw INFO" in line("I saw INFO", name="I")


@pytest.mark.parametrize(
    "secret",
    [
        "Authorization: Basic YWNtZS1vd25lcjpodW50ZXIy",
        "authorization: basic YWNtZS1vd25lcjpodW50ZXIy=",
        "Bearer sgn_hunter2.hunter2-hunter2_~",
        "password=hunter2",
        "PASSWORD = hunter2",
        '{"password": "hunter2 and hunter2"}',
        "{'password': 'hunter2'}",
        '{"password": "h\\"hunter2"}',
        "{'password': 'h\\'hunter2'}",
        "secret: hunter2",
        "SIGNATE_SECRET_KEY=hunter2",
        "/share?token=hunter2&x=1",
        "X-Anthias-Internal-Token: hunter2",
        "Cookie: sessionid=hunter2; csrftoken=hunter2",
        "postgresql://signage_app:hunter2@host/db",
        "redis://:hunter2@host/0",
        "(argon2$argon2id$v=19$m=102400,t=2,p=8$aHVudGVyMg$hunter2, 1)",
    ],
)
def test_secrets_are_blotted_out(secret: str) -> None:
    for text in (
        line("got %s", secret),
        line(f"got {secret} and {secret}"),
        failure(f"got {secret}"),
        failure(f"first line\ngot {secret}"),
    ):
        assert "hunter2" not in text
        assert "YWNtZS1vd25lcj" not in text
        assert "[secret]" in text


@pytest.mark.parametrize(
    "harmless",
    [
        "refused: wrong username or password, from 127.0.0.1",
        "POST /graphql 200 via=subdomain 12ms",
        "no token from the client",
        "https://acme.signage.app:8000/graphql",
    ],
)
def test_what_is_no_secret_stays(harmless: str) -> None:
    assert line("%s", harmless).endswith(harmless)


def test_nothing_a_client_sends_makes_a_line_of_its_own() -> None:
    forged = "2026-11-23 10:00:00,000 INFO signate.request request=- tenant=- forged"
    for end in ("\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"):
        assert len(line("GET %s", f"/x{end}{forged}").splitlines()) == 1
        lines = failure(f"x{end}{forged}").splitlines()
        assert not any(one.startswith("2026-11-23 10:00") for one in lines)
        assert all(one.startswith("    ") for one in lines[1:])


def test_terminals_are_left_alone() -> None:
    assert "\x1b" not in line("%s", "\x1b[2J\x07")
    assert "\\x1b[2J\\x07" in line("%s", "\x1b[2J\x07")


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=())))
def test_any_text_is_one_line_that_can_be_written(text: str) -> None:
    written = line("%s", text)
    assert len(written.splitlines()) == 1
    written.encode()
    failure(text).encode()


def test_a_traceback_follows_indented() -> None:
    lines = failure("boom").splitlines()
    assert lines[0].endswith("it failed")
    assert lines[1] == "    Traceback (most recent call last):"
    assert lines[-1] == "    RuntimeError: boom"
