"""Types of a contract in TypeScript: an interface for each version, and the map of events for `connect<Events>()`."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

from schemas.contract.event_schema import EventSchema
from schemas.contract.shapes import (
    Array,
    ContractShapes,
    Dictionary,
    Literals,
    Named,
    Primitive,
    Record,
    Reference,
    Shape,
    UnionOf,
)

_PRIMITIVES: Final = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}
_is_name: Final = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII).fullmatch


def typescript_of(schemas: Iterable[EventSchema], digest: str) -> str:
    """A module of types. `digest` is the contract's hash."""
    shapes = ContractShapes(schemas)
    lines = ["// Made by `gateway contract types`.", ""]
    lines += ["/** The hash of the contract, as in `connection.established` and `contract.changed`. */"]
    lines += [f"export const CONTRACT = {json.dumps(digest)};", ""]
    for named in shapes.named.values():
        lines += [*_declaration(named), ""]
    lines += ["/** The events of the contract: the `data` of each type, in all its versions. */"]
    lines += ["export interface Events {"]
    lines += [f"  {json.dumps(type)}: {' | '.join(names)};" for type, names in shapes.events.items()]
    return "\n".join([*lines, "}", ""])


def _declaration(named: Named) -> Iterator[str]:
    if named.description:
        yield f"/** {_comment(named.description)} */"
    if not isinstance(named.shape, Record):
        yield f"export type {named.name} = {_type(named.shape)};"
        return
    yield f"export interface {named.name} {{"
    for member in named.shape.members:
        if member.description:
            yield f"  /** {_comment(member.description)} */"
        name = member.name if _is_name(member.name) else json.dumps(member.name)
        yield f"  {name}{'' if member.required else '?'}: {_type(member.shape)};"
    yield "}"


def _type(shape: Shape) -> str:
    if isinstance(shape, Primitive):
        return _PRIMITIVES.get(shape.name, "unknown")
    if isinstance(shape, Literals):
        return " | ".join(_literal(value) for value in shape.values) or "never"
    if isinstance(shape, Array):
        item = _type(shape.item)
        return f"({item})[]" if "|" in item else f"{item}[]"
    if isinstance(shape, Dictionary):
        return f"Record<string, {_type(shape.value)}>"
    if isinstance(shape, UnionOf):
        return " | ".join(dict.fromkeys(_type(one) for one in shape.shapes))
    return shape.name if isinstance(shape, Reference) else "Record<string, unknown>"


def _literal(value: object) -> str:
    if value is None or isinstance(value, str | bool | int | float):
        return json.dumps(value)
    return "unknown"


def _comment(text: str) -> str:
    return " ".join(text.replace("*/", "* /").split())
