"""Compatibility of two states of a contract: optional members may be added, all else is refused or not proved."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contract.compatibility import changes, has_open_objects
from tests.support.contracts import COMPLETED

NAME = "task.completed.v1"
NESTED: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "steps": {"type": "array", "items": {"$ref": "#/$defs/Step"}},
        "by": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "$defs": {
        "Step": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"name": {"type": "string"}, "then": {"$ref": "#/$defs/Step"}},
            "required": ["name"],
        }
    },
}


def edited(schema: dict[str, Any], *path: str | int, **members: Any) -> dict[str, Any]:
    """A copy of the schema whose part at `path` has these members; those that are None are left out."""
    if path:
        part: Any = schema[path[0]]  # type: ignore[index]
        copy: Any = list(part) if isinstance(part, list) else {**schema}
        return {**copy, path[0]: edited(part, *path[1:], **members)}
    return {name: value for name, value in {**schema, **members}.items() if value is not None}


def found(earlier: dict[str, Any], later: dict[str, Any]) -> list[tuple[str, bool]]:
    return [(change.pointer, change.proved) for change in changes({NAME: earlier}, {NAME: later})]


PROPERTIES = COMPLETED["properties"]
STEP = ("$defs", "Step")


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (COMPLETED, COMPLETED),
        (COMPLETED, edited(COMPLETED, "properties", more={"type": "string"})),
        (COMPLETED, edited(COMPLETED, title="A title", description="Words", examples=[{}])),
        (COMPLETED, edited(COMPLETED, required=["result", "task_id"])),
        (NESTED, edited(NESTED, *STEP, "properties", at={"type": "number"})),
        (edited(NESTED, "properties", by=None), NESTED),
    ],
)
def test_optional_members_and_words_may_be_added(earlier: dict[str, Any], later: dict[str, Any]) -> None:
    assert found(earlier, later) == []


@pytest.mark.parametrize(
    ("earlier", "later", "pointer"),
    [
        (COMPLETED, edited(COMPLETED, "properties", note=None), "/properties/note"),
        (COMPLETED, edited(COMPLETED, "properties", "task_id", type="string"), "/properties/task_id/type"),
        (COMPLETED, edited(COMPLETED, "properties", "note", maxLength=10), "/properties/note/maxLength"),
        (COMPLETED, edited(COMPLETED, "properties", "note", maxLength=None), "/properties/note/maxLength"),
        (COMPLETED, edited(COMPLETED, "properties", "result", enum=["ok"]), "/properties/result/enum"),
        (COMPLETED, edited(COMPLETED, "properties", "result", enum=["ok", "failed", "x"]), "/properties/result/enum"),
        (COMPLETED, edited(COMPLETED, required=["task_id"]), "/properties/result"),
        (COMPLETED, edited(COMPLETED, required=["task_id", "result", "note"]), "/properties/note"),
        (COMPLETED, edited(COMPLETED, required=["task_id", "result", "new"]), "/properties/new"),
        (COMPLETED, edited(COMPLETED, additionalProperties=None), "/additionalProperties"),
        (edited(COMPLETED, additionalProperties=None), COMPLETED, "/additionalProperties"),
        (NESTED, edited(NESTED, "properties", "by", anyOf=[{"type": "string"}]), "/properties/by/anyOf"),
        (
            NESTED,
            edited(NESTED, "properties", "by", anyOf=[{"type": "integer"}, {"type": "null"}]),
            "/properties/by/anyOf/0/type",
        ),
        (NESTED, edited(NESTED, *STEP, required=None), "/properties/steps/items/properties/name"),
        (NESTED, edited(NESTED, "properties", "steps", items=None), "/properties/steps/items"),
    ],
)
def test_other_changes_are_refused(earlier: dict[str, Any], later: dict[str, Any], pointer: str) -> None:
    assert (pointer, True) in found(earlier, later)


@pytest.mark.parametrize(
    ("earlier", "later", "pointer"),
    [
        # Earlier events may have the member, of any type.
        ({"properties": {}}, {"properties": {"a": {"type": "string"}}}, "/properties/a"),
        (
            edited(COMPLETED, patternProperties={"^x": {"type": "string"}}),
            edited(COMPLETED, patternProperties={"^x": {"type": "number"}}),
            "/patternProperties",
        ),
        (
            edited(COMPLETED, unevaluatedProperties=False),
            edited(edited(COMPLETED, unevaluatedProperties=False), "properties", more={"type": "string"}),
            "/unevaluatedProperties",
        ),
        ({"$ref": "#/$defs/Gone"}, {"$ref": "#/$defs/Gone", "$defs": {"Gone": {}}}, ""),
    ],
)
def test_unknown_keywords_are_not_proved(earlier: dict[str, Any], later: dict[str, Any], pointer: str) -> None:
    assert (pointer, False) in found(earlier, later)


def test_versions_may_be_added_and_not_removed() -> None:
    """Publishers may name a version that is gone."""
    both = {NAME: COMPLETED, "task.completed.v2": {"type": "object"}}
    assert changes({NAME: COMPLETED}, both) == []
    (change,) = changes(both, {NAME: COMPLETED})
    assert (change.name, change.proved) == ("task.completed.v2", True)


words = st.sampled_from(["a", "b", "c"])
simple = st.sampled_from([{"type": "string"}, {"type": "integer"}, {"enum": ["x", 1]}, {"type": ["string", "null"]}])


@st.composite
def objects(draw: st.DrawFn, parts: st.SearchStrategy[Any]) -> dict[str, Any]:
    properties = draw(st.dictionaries(words, parts, max_size=3))
    required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


schemas = objects(st.recursive(simple, lambda parts: objects(parts), max_leaves=6))
values = st.recursive(
    st.sampled_from(["x", 1, None, 2.5]), lambda parts: st.dictionaries(words, parts, max_size=3), max_leaves=8
)


@given(schemas, schemas, st.dictionaries(words, values, max_size=3))
def test_allowed_changes_keep_every_event_readable(earlier: Any, later: Any, data: Any) -> None:
    """An event of either state is valid in the other one, for readers that pass over members that they do not know."""
    from jsonschema_rs import Draft202012Validator

    from schemas.contract.document import opened

    if found(earlier, later):
        return
    for written, read in ((earlier, later), (later, earlier)):
        if Draft202012Validator(written).is_valid(data):
            assert Draft202012Validator(opened(read)).is_valid(data)


def test_open_objects_are_found() -> None:
    """An object inside others counts."""
    assert not has_open_objects(COMPLETED)
    assert not has_open_objects(NESTED)
    assert has_open_objects(edited(NESTED, *STEP, additionalProperties=None))
    assert not has_open_objects({"type": "object"})
