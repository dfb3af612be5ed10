"""Event contracts for tests, as folders of JSON Schemas and as models."""

import json
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

COMPLETED: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["task_id", "result"],
    "properties": {
        "task_id": {"type": "integer"},
        "result": {"enum": ["ok", "failed"]},
        "note": {"type": "string", "maxLength": 2_000},
    },
}
"""A schema of `task.completed`, version 1."""

COMPLETED_2: Final[dict[str, Any]] = {
    **COMPLETED,
    "required": ["task_id"],
    "properties": {"task_id": {"type": "string"}, "note": {"type": "string"}},
}
"""A schema of its version 2."""

ANY: Final = {"type": "object"}

GOOD: Final = {"task_id": 7, "result": "ok"}
BAD: Final = {"task_id": "7" * 300, "result": "ok"}
"""Data for version 1, right and wrong."""


class Completed(BaseModel):
    """The schema `COMPLETED` as a model."""

    model_config = ConfigDict(extra="forbid")

    task_id: int
    result: Literal["ok", "failed"]
    note: str | None = None


MODELS: Final = {"task.completed.v1": Completed, "task.started.v1": dict[str, Any]}


def write_contract(folder: Path, **schemas: Any) -> str:
    """Write schemas by name, with `__` in place of dots, into a folder; by default the same as `MODELS`."""
    folder.mkdir(exist_ok=True)
    for name, schema in (schemas or {"task__completed__v1": COMPLETED, "task__started__v1": ANY}).items():
        (folder / f"{name.replace('__', '.')}.json").write_text(json.dumps(schema))
    return str(folder)
