"""Types of a contract in Python: a `TypedDict` for each version, and an alias for each event type."""

import json
from collections.abc import Iterable, Iterator
from keyword import iskeyword
from typing import Final

from schemas.contract.event_schema import EventSchema
from schemas.contract.shapes import (
    Array,
    ContractShapes,
    Dictionary,
    Field,
    Literals,
    Named,
    Primitive,
    Record,
    Reference,
    Shape,
    UnionOf,
)

_PRIMITIVES: Final = {"integer": "int", "number": "float", "string": "str", "boolean": "bool", "null": "None"}


def python_of(schemas: Iterable[EventSchema], digest: str) -> str:
    """A module of types. `digest` is the contract's hash."""
    shapes = ContractShapes(schemas)
    lines = ['"""Made by `gateway contract types`."""', ""]
    lines += ["from __future__ import annotations", ""]
    lines += ["from typing import Any, Literal, NotRequired, TypeAlias, TypedDict"]
    lines += ["", f"CONTRACT = {json.dumps(digest)}"]
    lines += ['"""The hash of the contract, as in `connection.established` and `contract.changed`."""']
    for named in shapes.named.values():
        lines += ["", "", *_declaration(named)]
    lines += ["", ""]
    aliases: dict[str, list[str]] = {}
    for names in shapes.events.values():
        alias = names[0].rpartition("V")[0]
        while alias in aliases:
            alias += "_"  # `a.b_c` and `a_b.c`
        aliases[alias] = names
    # Quoted, since an alias among them is a string at run time.
    lines += [f"{alias}: TypeAlias = {json.dumps(' | '.join(names))}" for alias, names in aliases.items()]
    return "\n".join([*lines, ""])


def _declaration(named: Named) -> Iterator[str]:
    shape = named.shape
    if not isinstance(shape, Record):
        yield f"{named.name}: TypeAlias = {json.dumps(_type(shape))}"
    elif all(_is_name(member.name) for member in shape.members):
        yield f"class {named.name}(TypedDict):"
        if named.description:
            yield f"    {_comment(named.description)}"
            yield ""
        for member in shape.members:
            if member.description:
                yield f"    # {' '.join(member.description.split())}"
            yield f"    {member.name}: {_member(member)}"
        if not (named.description or shape.members):
            yield "    pass"
    else:
        yield f"{named.name} = TypedDict("
        yield f"    {json.dumps(named.name)},"
        yield "    {"
        for member in shape.members:
            yield f"        {json.dumps(member.name)}: {json.dumps(_member(member))},"
        yield "    },"
        yield ")"


def _member(member: Field) -> str:
    text = _type(member.shape)
    return text if member.required else f"NotRequired[{text}]"


def _type(shape: Shape) -> str:
    if isinstance(shape, Primitive):
        return _PRIMITIVES.get(shape.name, "Any")
    if isinstance(shape, Literals):
        return _literals(shape.values)
    if isinstance(shape, Array):
        return f"list[{_type(shape.item)}]"
    if isinstance(shape, Dictionary):
        return f"dict[str, {_type(shape.value)}]"
    if isinstance(shape, UnionOf):
        return " | ".join(dict.fromkeys(_type(one) for one in shape.shapes))
    return shape.name if isinstance(shape, Reference) else "dict[str, Any]"


def _literals(values: tuple[object, ...]) -> str:
    """A `Literal`; PEP 586 has none for floating point numbers, lists and objects."""
    if all(value is None or isinstance(value, str | bool | int) for value in values) and values:
        return f"Literal[{', '.join(repr(value) for value in values)}]"
    return "Any"


def _is_name(text: str) -> bool:
    # A name with two underscores at its beginning would be mangled in a class.
    return text.isidentifier() and not iskeyword(text) and not text.startswith("__")


def _comment(text: str) -> str:
    quoted = " ".join(text.split()).replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{quoted.rstrip(chr(34))}"""'
