"""Compatibility of two states of a contract: within a version only optional members may be added.

Clients written for the earlier state read events of the later one, and clients of the later state read events of the
earlier one that the log still has. Both hold if every event is valid in either direction for readers that pass over
members that they do not know. What this module does not understand counts as not proved.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.contract.event_schema import parse_name
from schemas.contract.subschemas import resolved

_ANNOTATIONS: Final = frozenset(
    ("$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly")
)
_COMPARED: Final = frozenset(("$ref", "$defs", "properties", "required", "additionalProperties", "items"))
_CHOICES: Final = ("anyOf", "oneOf")
_LIMITS: Final = frozenset(
    (
        *("type", "enum", "const", "format", "pattern", "discriminator", "multipleOf", "uniqueItems"),
        *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    )
)
"""Keywords that say by themselves what is allowed: a change of one changes it."""


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """A change within the version `name` at `pointer` of its schema: not allowed, or, unless `proved`, not known to
    be."""

    name: str
    pointer: str
    message: str
    proved: bool = True

    def __str__(self) -> str:
        return f"{self.name}{f' at {self.pointer}' if self.pointer else ''}: {self.message}"


def changes(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> list[SchemaChange]:
    """The changes from the schemas of `earlier` to those of `later`, by name, that are not allowed or not proved."""
    found: list[SchemaChange] = []
    for name in sorted(earlier, key=parse_name):
        if name in later:
            comparison = _Comparison(earlier[name], later[name])
            parts = comparison.compare(earlier[name], later[name], "")
            found += [SchemaChange(name, pointer, message, proved) for pointer, message, proved in parts]
        else:
            found.append(SchemaChange(name, "", "is gone: publishers may name it, and the log may have events of it"))
    return found


Found = Iterator[tuple[str, str, bool]]


class _Comparison:
    """The comparison of two schemas, with the definitions of each."""

    def __init__(self, earlier: Any, later: Any) -> None:
        self._earlier = earlier
        self._later = later
        self._begun: set[tuple[Any, Any]] = set()

    def compare(self, old: Any, new: Any, pointer: str) -> Found:
        if isinstance(old, bool) or isinstance(new, bool):
            if old != new:
                yield pointer, f"was {old}, is {new}" if isinstance(new, bool) else f"was {old}, is a schema", True
            return
        pair = (old.get("$ref"), new.get("$ref"))
        if pair != (None, None):
            if None not in pair:  # a recursive type
                if pair in self._begun:
                    return
                self._begun.add(pair)
            if _others(old) or _others(new):
                if old != new:
                    yield pointer, "a $ref beside other keywords has changed", False
                return
            found_old, found_new = _followed(self._earlier, old), _followed(self._later, new)
            if found_old is None or found_new is None:
                yield pointer, "a $ref cannot be followed", False
                return
            yield from self.compare(found_old, found_new, pointer)
            return
        yield from self._keywords(old, new, pointer)
        yield from self._members(old, new, pointer)
        for name in ("items", *_CHOICES):
            yield from self._parts(name, old, new, f"{pointer}/{name}")

    def _keywords(self, old: Mapping[str, Any], new: Mapping[str, Any], pointer: str) -> Found:
        for name in sorted((old.keys() | new.keys()) - _ANNOTATIONS - _COMPARED - set(_CHOICES)):
            if old.get(name) != new.get(name):
                if name in _LIMITS:
                    yield f"{pointer}/{name}", f"was {old.get(name, 'absent')!r}, is {new.get(name, 'absent')!r}", True
                else:
                    yield f"{pointer}/{name}", "has changed, and cannot be compared", False
            elif name not in _LIMITS and old != new:
                yield f"{pointer}/{name}", "cannot be compared, and the schema around it has changed", False

    def _members(self, old: Mapping[str, Any], new: Mapping[str, Any], pointer: str) -> Found:
        before, after = old.get("properties", {}), new.get("properties", {})
        was, now = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted(before.keys() | after.keys() | was | now):
            place = f"{pointer}/properties/{name.replace('~', '~0').replace('/', '~1')}"
            if name in before and name not in after:
                yield place, "is gone; keep it", True
            elif name in now and name not in was:
                yield place, "is required; earlier events lack it: make it optional, or write a new version", True
            elif name in was and name not in now:
                yield place, "is no longer required; clients rely on it: write a new version", True
            elif name in before:
                yield from self.compare(before[name], after[name], place)
            elif name in after and old.get("additionalProperties") is not False:
                message = "is new, and earlier events may have any such member: close objects by additionalProperties"
                yield place, f"{message}: false", False
        rest_before, rest_after = (schema.get("additionalProperties", True) for schema in (old, new))
        yield from self.compare(rest_before, rest_after, f"{pointer}/additionalProperties")

    def _parts(self, name: str, old: Mapping[str, Any], new: Mapping[str, Any], pointer: str) -> Found:
        if name not in old and name not in new:
            return
        if name not in old or name not in new:
            yield pointer, f"was {'absent' if name in new else 'there'}", True
        elif name == "items":
            yield from self.compare(old[name], new[name], pointer)
        elif len(old[name]) != len(new[name]):
            yield pointer, f"had {len(old[name])} alternatives, has {len(new[name])}", True
        else:
            for number, (before, after) in enumerate(zip(old[name], new[name], strict=True)):
                yield from self.compare(before, after, f"{pointer}/{number}")


def _others(schema: Mapping[str, Any]) -> bool:
    return "$ref" in schema and bool(schema.keys() - _ANNOTATIONS - {"$ref", "$defs"})


def _followed(root: Any, schema: Mapping[str, Any]) -> Any:
    """The schema that a local `$ref` names, or the schema itself; None where it cannot be found."""
    return resolved(root, schema["$ref"]) if "$ref" in schema else schema


def has_open_objects(schema: Any) -> bool:
    """Whether any object in the schema may have members that it does not name: to such a one none can be added
    later."""
    if isinstance(schema, list):
        return any(map(has_open_objects, schema))
    if not isinstance(schema, Mapping):
        return False
    if "properties" in schema and schema.get("additionalProperties") is not False:
        return True
    return any(map(has_open_objects, schema.values()))
