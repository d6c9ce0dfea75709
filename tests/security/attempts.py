"""What a process tried to reach."""

from typing import Any, NamedTuple


class Attempts(NamedTuple):
    """What was tried: every address connected to, and every name looked up."""

    connections: list[Any]
    look_ups: list[str]
