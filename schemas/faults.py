"""Validation errors as one line of text, for the sender of the input."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

_SHOWN: Final = 3

_OBJECT: Final = "must be a JSON object"
_MESSAGES: Final = {
    "extra_forbidden": "unknown field; correct its name, or leave it out",
    "missing": "is missing",
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "list_type": "must be a list",
}
"""Messages in terms of JSON, by pydantic's type of error, in place of its own in those of Python."""


def describe(
    faults: Sequence[Mapping[str, Any]], *, outer: int = 0, messages: Mapping[str, str] = MappingProxyType({})
) -> str:
    """The first three of pydantic's errors by field; the input is not quoted.

    `outer` is the number of parts of each location before the sender's own fields: a union's tag, or the word `body`.
    `messages` are by type of error, and come before those that are made here.
    """
    texts = {**_MESSAGES, **messages}
    lines = [f"{_path(fault['loc'], outer)}{texts.get(fault['type']) or _text(fault)}" for fault in faults[:_SHOWN]]
    if len(faults) > _SHOWN:
        lines.append(f"and {len(faults) - _SHOWN} more")
    return "; ".join(lines)


def _text(fault: Mapping[str, Any]) -> str:
    text: str = fault["msg"].removeprefix("Value error, ")
    wanted = text.removeprefix("Input should be ")
    return text if wanted == text else f"must be {wanted}"


def _path(location: Sequence[int | str], outer: int) -> str:
    # The name of an unknown field is input: keep it short and printable.
    words = [str(part)[:40] for part in location[outer:] or location]
    path = ".".join(word if word.isprintable() else "?" for word in words)
    return f"{path}: " if path else ""
