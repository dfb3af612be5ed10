"""Subschemas of a JSON Schema: what references name, and what moves with a schema."""

from typing import Any

import pytest

from schemas.contract.json_schema import json_event_schema
from schemas.contract.python_types import python_of
from schemas.contract.subschemas import moved, resolved

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "properties": {
        "$ref": {"$ref": "#/$defs/a~1b"},
        "tree": {"items": {"$ref": "#"}},
        "link": {"const": {"$ref": "kept"}, "examples": [{"$ref": "kept"}]},
    },
    "$defs": {"a/b": {"type": "string"}, "anything": True},
}


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("#", SCHEMA),
        ("#/$defs/a~1b", {"type": "string"}),
        ("#/$defs/anything", True),
        ("#/$defs/none", None),
        ("#/$defs/a~1b/type/none", None),
        ("other.json", None),
    ],
)
def test_reference_names_a_part(reference: str, found: Any) -> None:
    assert resolved(SCHEMA, reference) == found


def test_moved_schema_refers_to_its_new_place() -> None:
    """Data that look like references stay, and so does a member of that name."""
    there = moved(SCHEMA, "#/components/schemas/A")
    assert there == {
        "properties": {
            "$ref": {"$ref": "#/components/schemas/A/$defs/a~1b"},
            "tree": {"items": {"$ref": "#/components/schemas/A"}},
            "link": SCHEMA["properties"]["link"],
        },
        "$defs": SCHEMA["$defs"],
    }


def test_types_of_a_reference_to_anything() -> None:
    """A definition may be `true`."""
    schema = {"type": "object", "properties": {"value": {"$ref": "#/$defs/anything"}}, "$defs": {"anything": True}}
    assert "value: NotRequired[Any]" in python_of([json_event_schema("a.b", 1, schema)], "sha256:1")
