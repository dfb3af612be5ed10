"""The schema of the data of one version of an event type."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from json import dumps
from typing import Any, Final, Protocol

from pydantic_core import to_json

from schemas.events import event_type_error

GOT_LENGTH: Final = 100
"""Characters of a refused value that are quoted to its publisher."""

_name = re.compile(r"(.+)\.v([1-9][0-9]{0,5})").fullmatch


class SchemaInvalid(ValueError):
    """A schema, model or name that cannot be part of a contract; the message says why."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A part of `data` that its schema refuses: `pointer` (RFC 6901) is its place, `got` its JSON, cut to
    `GOT_LENGTH`."""

    pointer: str
    expected: str
    got: str

    @classmethod
    def at(cls, path: Iterable[str | int], expected: str, value: Any) -> "Mismatch":
        parts = [str(part).replace("~", "~0").replace("/", "~1") for part in path]
        return cls("".join(f"/{part}" for part in parts), expected, cut(to_json(value, fallback=repr).decode()))


class Check(Protocol):
    """The check of an event's `data`."""

    def __call__(self, body: bytes, partial: bool, /) -> Mismatch | None:
        """The first mismatch in the `data` of an event, given as its whole JSON object. The data of an `append` is
        `partial`: members that the schema requires may be absent."""


@dataclass(frozen=True, slots=True)
class EventSchema:
    """The JSON Schema (2020-12) of `data`, as its publishers must write it, and its check."""

    type: str
    version: int
    schema: Mapping[str, Any]
    check: Check

    @property
    def name(self) -> str:
        """`<type>.v<N>`, as in the name of its file."""
        return f"{self.type}.v{self.version}"


def parse_name(name: str) -> tuple[str, int]:
    """The event type and the version in `<type>.v<N>`. Raises `SchemaInvalid`."""
    found = _name(name)
    if found is None:
        raise SchemaInvalid("is not named <type>.v<N>, such as task.completed.v1")
    type = found[1]
    if problem := event_type_error(type):
        raise SchemaInvalid(problem)
    return type, int(found[2])


def cut(text: str) -> str:
    """The text, with at most `GOT_LENGTH` characters."""
    return text if len(text) <= GOT_LENGTH else f"{text[: GOT_LENGTH - 1]}…"


def digest_of(schemas: Iterable[EventSchema]) -> str:
    """A hash of the schemas, whatever their order and that of their members: 32 hexadecimal digits."""
    content = {schema.name: schema.schema for schema in schemas}
    return sha256(dumps(content, sort_keys=True).encode()).hexdigest()[:32]
