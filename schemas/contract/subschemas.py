"""Subschemas of a JSON Schema: those that a local `$ref` names, and the rewriting of all."""

from collections.abc import Callable, Mapping
from typing import Any, Final

_NAMES: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""Keywords whose value has schemas by names of the author's choice."""
_LITERAL: Final = ("const", "enum", "default", "examples", "example")
"""Keywords whose value is data and no schema."""

Rewrite = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def resolved(root: Any, reference: str) -> Any:
    """The subschema of `root` that a local reference names, as JSON Pointer in a fragment (RFC 6901); None where it
    names none."""
    if reference == "#":
        return root
    if not reference.startswith("#/"):
        return None
    found = root
    for part in reference[2:].split("/"):
        part = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def rewritten(schema: Any, rewrite: Rewrite) -> Any:
    """The schema with `rewrite` applied to itself and to each subschema, outermost first."""
    if isinstance(schema, list):
        return [rewritten(part, rewrite) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {}
    for name, value in rewrite(schema).items():
        if name in _NAMES and isinstance(value, Mapping):
            found[name] = {key: rewritten(part, rewrite) for key, part in value.items()}
        else:
            found[name] = value if name in _LITERAL else rewritten(value, rewrite)
    return found


def moved(schema: Any, root: str) -> Any:
    """The schema as a part of another document, where it is at `root`, such as `#/components/schemas/A`."""

    def move(part: Mapping[str, Any]) -> Mapping[str, Any]:
        reference = part.get("$ref")
        at = {"$ref": f"{root}{reference.removeprefix('#')}"} if isinstance(reference, str) else {}
        # Without a dialect: the whole document has one.
        return {name: value for name, value in {**part, **at}.items() if name != "$schema"}

    return rewritten(schema, move)
