"""Shelves hold what they may and no more, and nobody can empty them for others."""

from __future__ import annotations

from graph.shelves import Shelf


def test_what_was_used_least_lately_goes_first() -> None:
    shelf: Shelf[int] = Shelf(entries=3, weight=100, share=1)
    for key in "abc":
        shelf.put(key, ord(key), owner="x", weight=1)
    assert shelf.get("a") == ord("a")
    shelf.put("d", 4, owner="x", weight=1)
    assert [shelf.get(key) for key in "abcd"] == [97, None, 99, 4]
    assert len(shelf) == 3


def test_weight_is_bounded_too() -> None:
    shelf: Shelf[str] = Shelf(entries=100, weight=10, share=1)
    shelf.put("a", "a", owner="x", weight=6)
    shelf.put("b", "b", owner="y", weight=5)
    assert (shelf.get("a"), shelf.get("b")) == (None, "b")
    shelf.put("c", "too heavy", owner="x", weight=11)
    assert (shelf.get("c"), shelf.get("b")) == (None, "b")


def test_a_flood_pushes_out_its_own_only() -> None:
    shelf: Shelf[int] = Shelf(entries=40, weight=400, share=4)
    for number in range(8):
        shelf.put(f"mine {number}", number, owner="me", weight=1)
    for number in range(1_000):
        shelf.put(f"flood {number}", number, owner="them", weight=1)
    assert [shelf.get(f"mine {number}") for number in range(8)] == list(range(8))
    assert len(shelf) == 18
    for number in range(1_000):
        shelf.put(f"heavy {number}", number, owner="others", weight=90)
    assert len(shelf) == 19
    assert shelf.get("heavy 999") == 999


def test_what_is_put_again_takes_its_place() -> None:
    shelf: Shelf[str] = Shelf(entries=8, weight=80, share=1)
    shelf.put("a", "old", owner="x", weight=50)
    shelf.put("a", "new", owner="y", weight=60)
    assert (shelf.get("a"), len(shelf)) == ("new", 1)
    shelf.clear()
    assert (shelf.get("a"), len(shelf)) == (None, 0)
