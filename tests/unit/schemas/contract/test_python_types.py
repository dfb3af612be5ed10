"""The types of a contract in Python, as a module that is imported."""

from typing import Any

from schemas.contract.json_schema import json_event_schema
from schemas.contract.python_types import python_of

RECORD: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
TABLE: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "integer"}}


def imported(*schemas: tuple[str, int, dict[str, Any]]) -> dict[str, Any]:
    module: dict[str, Any] = {"__name__": "events"}
    exec(python_of([json_event_schema(*each) for each in schemas], "sha256:1"), module)  # noqa: S102
    return module


def test_versions_of_different_shapes_can_be_imported() -> None:
    """A version that is no record is an alias, which is a string at run time."""
    assert imported(("a.ping", 1, TABLE), ("a.ping", 2, RECORD))["APing"] == "APingV1 | APingV2"


def test_types_that_differ_in_their_dots_have_an_alias_each() -> None:
    module = imported(("a.b_c", 1, RECORD), ("a_b.c", 1, RECORD))
    assert {module["ABC"], module["ABC_"]} == {"ABCV1", "ABCV1_"}
