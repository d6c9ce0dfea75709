"""What a client left out of an input, which is not the same as null."""

from typing import Any, TypeGuard, TypeVar

from strawberry import UNSET

T = TypeVar("T")


def is_given(value: T | None) -> TypeGuard[T]:
    """Return whether a client gave a value: neither left it out nor said null."""
    return value is not None and value is not UNSET


def given(values: object) -> dict[str, Any]:
    """Return the fields of an input that the client did not leave out, nulls included."""
    return {name: value for name, value in vars(values).items() if value is not UNSET}
