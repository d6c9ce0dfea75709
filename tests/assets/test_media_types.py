"""What a file is, by its first bytes."""

from __future__ import annotations

import time

import pytest

from assets.media_types import sniff
from tests.media import HTML, PNG, SVG, WEBP


@pytest.mark.parametrize(
    ("head", "mimetype"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (WEBP, "image/webp"),
        (b"\x00\x00\x00\x18ftypmp42", "video/mp4"),
        (b"\x00\x00\x00\x18ftypqt  ", "video/quicktime"),
        (b"\x00\x00\x00\x18ftypavif", "image/avif"),
        (b"\x00\x00\x00\x18ftypheic", "image/heic"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", "video/webm"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x88matroska", "video/x-matroska"),
        (SVG, "image/svg+xml"),
        (b"<svg>", "image/svg+xml"),
        (b"\xef\xbb\xbf\n<!-- a --><!DOCTYPE svg>\n<!-- b -->\n<svg/>", "image/svg+xml"),
    ],
)
def test_known_beginnings(head: bytes, mimetype: str) -> None:
    kind = sniff(head)
    assert kind is not None
    assert (kind.mimetype, kind.is_active) == (mimetype, mimetype == "image/svg+xml")


@pytest.mark.parametrize(
    "head",
    [b"", b"\x89PNG", HTML, b" " + PNG, b"<svgx>", b"<html><svg>", b"RIFF....AVI ", b"%PDF-1.7"],
)
def test_everything_else_is_unknown(head: bytes) -> None:
    assert sniff(head) is None


def test_comments_without_end_cost_nothing() -> None:
    started = time.perf_counter()
    assert sniff(b"<!---->" * 580) is None
    assert sniff(b"<!-- -->" * 500 + b"<!--") is None
    assert time.perf_counter() - started < 1
