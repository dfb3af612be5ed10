"""Validation errors as one line of text, for the sender of the input."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

_SHOWN: Final = 3


def describe(faults: Sequence[Mapping[str, Any]], *, outer: int = 0) -> str:
    """The first three of pydantic's errors by field; the input is not quoted.

    `outer` is the number of parts of each location before the sender's own fields: a union's tag, or the word `body`.
    """
    lines = [f"{_path(fault['loc'], outer)}{fault['msg'].removeprefix('Value error, ')}" for fault in faults[:_SHOWN]]
    if len(faults) > _SHOWN:
        lines.append(f"and {len(faults) - _SHOWN} more")
    return "; ".join(lines)


def _path(location: Sequence[int | str], outer: int) -> str:
    # The name of an unknown field is input: keep it short and printable.
    words = [str(part)[:40] for part in location[outer:] or location]
    path = ".".join(word if word.isprintable() else "?" for word in words)
    return f"{path}: " if path else ""
