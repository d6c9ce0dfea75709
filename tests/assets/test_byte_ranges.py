"""Which bytes a Range header asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.byte_ranges import Unsatisfiable, wanted_range


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=0-99", (0, 100)),
        ("bytes=0-100", (0, 100)),
        ("bytes=99-", (99, 1)),
        ("bytes=10-19", (10, 10)),
        ("BYTES = 10-19 ,", (10, 10)),
        ("bytes=,\t10-19", (10, 10)),
        ("bytes=0010-0019", (10, 10)),
        ("bytes=10-" + "9" * 10_000, (10, 90)),
        ("bytes=-1", (99, 1)),
        ("bytes=-100", (0, 100)),
        ("bytes=-101", (0, 100)),
        ("bytes=-" + "9" * 10_000, (0, 100)),
    ],
)
def test_one_range(header: str, wanted: tuple[int, int]) -> None:
    assert wanted_range(header, 100) == wanted


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=5-4",
        "bytes=+1-2",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=1 - 2",
        "bytes=\u0661-\u0662",
        "bytes=1-2\n",
        "items=0-1",
        "bytes=0-1,3-4",
        "bytes=0-1, -1",
    ],
)
def test_what_is_no_range_or_several_is_the_whole_file(header: str) -> None:
    assert wanted_range(header, 100) is None


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=100-", 100),
        ("bytes=100-200", 100),
        ("bytes=" + "9" * 10_000 + "-", 100),
        ("bytes=-0", 100),
        ("bytes=0-", 0),
        ("bytes=0-0", 0),
        ("bytes=-0", 0),
    ],
)
def test_bytes_that_are_not_there(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        wanted_range(header, size)


def test_the_end_of_an_empty_file_is_the_whole_of_it() -> None:
    assert wanted_range("bytes=-5", 0) is None


@given(st.text(alphabet="bytes=0123456789-, "), st.integers(0, 50))
def test_whatever_is_asked_lies_in_the_file(header: str, size: int) -> None:
    try:
        wanted = wanted_range(header, size)
    except Unsatisfiable:
        return
    if wanted is not None:
        start, length = wanted
        assert 0 <= start < start + length <= size
