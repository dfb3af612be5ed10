"""The shapes of data that a JSON Schema describes, from which types of programming languages are printed.

Limits such as `maxLength` are not part of a shape. Keywords without a counterpart in a type (`if`, `not`, …) are
ignored, so that a type allows at least what its schema does.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.contract.event_schema import EventSchema
from schemas.contract.subschemas import resolved


@dataclass(frozen=True, slots=True)
class Primitive:
    """A JSON type by its name in JSON Schema; `any` for everything."""

    name: str


@dataclass(frozen=True, slots=True)
class Literals:
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Array:
    item: "Shape"


@dataclass(frozen=True, slots=True)
class Dictionary:
    """An object with members of any name, all of one shape."""

    value: "Shape"


@dataclass(frozen=True, slots=True)
class UnionOf:
    shapes: tuple["Shape", ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """A named shape of the same list."""

    name: str


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    shape: "Shape"
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Record:
    """An object with these members."""

    members: tuple[Field, ...]


Shape = Primitive | Literals | Array | Dictionary | UnionOf | Reference | Record
ANY = Primitive("any")


@dataclass(frozen=True, slots=True)
class Named:
    """A shape with the name of its type; `description` is the description in its schema."""

    name: str
    shape: Shape
    description: str


class ContractShapes:
    """The shapes of a contract: `named`, each after those it was met in, and for each event type the names of its
    versions' shapes, `events`."""

    def __init__(self, schemas: Iterable[EventSchema]) -> None:
        self.named: dict[str, Named] = {}
        self.events: dict[str, list[str]] = {}
        for each in schemas:
            name = _type_name(f"{each.type}.v{each.version}")
            while name in self.named:
                name += "_"  # `a.b_c` and `a_b.c`
            _SchemaReader(each.schema, name, self.named).read()
            self.events.setdefault(each.type, []).append(name)


class _SchemaReader:
    """The reader of one schema. Objects inside others get names, from the members that they are in."""

    def __init__(self, root: Mapping[str, Any], name: str, named: dict[str, Named]) -> None:
        self._root = root
        self._name = name
        self._named = named
        self._references: dict[str, str] = {"#": name}

    def read(self) -> None:
        self._add(self._root, self._name)

    def _add(self, schema: Mapping[str, Any], name: str) -> None:
        self._named[name] = Named(name, ANY, "")  # its place, and a guard against endless recursion
        shape = self._shape(schema, name, named=True)
        self._named[name] = Named(name, shape, str(schema.get("description", "")))

    def _shape(self, schema: Any, name: str, *, named: bool = False) -> Shape:
        if not isinstance(schema, Mapping):
            return ANY
        if (reference := schema.get("$ref")) is not None:
            return self._reference(reference)
        if "const" in schema:
            return Literals((schema["const"],))
        if "enum" in schema:
            return Literals(tuple(schema["enum"]))
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                found = [self._shape(one, f"{name}{number}") for number, one in enumerate(schema[keyword], 1)]
                return _alternatives(found)
        if len(schema.get("allOf", ())) == 1:
            return self._shape(schema["allOf"][0], name, named=named)
        if "type" not in schema:
            return self._object(schema, name, named) if "properties" in schema else ANY
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        return _alternatives([self._of_kind(kind, schema, name, named) for kind in kinds])

    def _of_kind(self, kind: str, schema: Mapping[str, Any], name: str, named: bool) -> Shape:
        if kind == "object":
            return self._object(schema, name, named)
        if kind == "array":
            return Array(self._shape(schema.get("items"), f"{name}Item"))
        return Primitive(kind)

    def _object(self, schema: Mapping[str, Any], name: str, named: bool) -> Shape:
        if "properties" not in schema:
            return Dictionary(self._shape(schema.get("additionalProperties"), f"{name}Value"))
        if not named:
            name = self._free(name)
            self._add(schema, name)
            return Reference(name)
        required = schema.get("required", ())
        return Record(tuple(self._members(schema["properties"], required, name)))

    def _members(self, properties: Mapping[str, Any], required: Any, name: str) -> Iterator[Field]:
        for key, schema in properties.items():
            description = str(schema.get("description", "")) if isinstance(schema, Mapping) else ""
            yield Field(key, self._shape(schema, name + _type_name(key)), key in required, description)

    def _reference(self, reference: str) -> Shape:
        if reference not in self._references:
            found = resolved(self._root, reference)
            if not isinstance(found, Mapping):  # such as `true`
                return ANY
            self._references[reference] = self._free(self._name + _type_name(reference.rpartition("/")[2]))
            self._add(found, self._references[reference])
        return Reference(self._references[reference])

    def _free(self, name: str) -> str:
        while name in self._named:
            name += "_"
        return name


def _alternatives(shapes: list[Shape]) -> Shape:
    parts = [part for shape in shapes for part in (shape.shapes if isinstance(shape, UnionOf) else [shape])]
    if ANY in parts:
        return ANY
    distinct = tuple({repr(part): part for part in parts}.values())  # 1 equals True
    return distinct[0] if len(distinct) == 1 else UnionOf(distinct)


def _type_name(text: str) -> str:
    """`task.completed.v1` as `TaskCompletedV1`."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", text))
