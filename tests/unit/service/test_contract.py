"""Loading of the event contract from its settings."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import BaseModel

from gateway.service.config import ConfigError
from gateway.service.contract import load_schemas
from tests.support.contracts import COMPLETED, write_contract

HERE: Final = "tests.unit.service.test_contract"


class Started(BaseModel):
    task_id: int


NO_MAPPING: Final = [Started]
NO_NAME: Final = {"Started": Started}
RESERVED: Final = {"stream.gap.v1": Started}
NO_OBJECT: Final = {"task.started.v1": list[int]}
NO_MODEL: Final = {"task.started.v1": object()}
EMPTY: Final[dict[str, Any]] = {}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("no/such/folder", "no such folder"),
        ("no.such.module:NAME", "cannot be imported"),
        (f"{HERE}:MISSING", "cannot be imported"),
        (f"{HERE}:NO_MAPPING", "is not a mapping"),
        (f"{HERE}:NO_NAME", "is not named <type>.v<N>"),
        (f"{HERE}:RESERVED", "belongs to the gateway's own frames"),
        (f"{HERE}:NO_OBJECT", "is an object"),
        (f"{HERE}:NO_MODEL", "not a pydantic model"),
        (f"{HERE}:EMPTY", "names no event type"),
    ],
)
def test_unusable_source_is_one_clear_line(source: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"^GATEWAY_CONTRACT: .*{words}"):
        load_schemas(source, "GATEWAY_CONTRACT")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("Task.v1", "{}", "an event type is lower-case words"),
        ("task.completed", "{}", "is not named <type>.v<N>"),
        ("task.completed.v0", "{}", "is not named <type>.v<N>"),
        ("task.completed.v01", "{}", "is not named <type>.v<N>"),
        ("task.completed.v1", "{", "is not JSON"),
        ("task.completed.v1", "true", "is not a JSON Schema"),
        ("task.completed.v1", '{"type": "text"}', "/type"),
        ("task.completed.v1", '{"pattern": "("}', "/pattern"),
        ("task.completed.v1", '{"$ref": "http://127.0.0.1:9/other.json"}', "127.0.0.1"),
        ("task.completed.v1", '{"$ref": "other.json"}', "other.json"),
        ("task.completed.v1", '{"$schema": "http://json-schema.org/draft-07/schema#"}', "JSON Schema 2020-12"),
    ],
)
def test_unusable_file_is_named(tmp_path: Path, name: str, content: str, words: str) -> None:
    """A file with a wrong name among them, since its events would not be checked."""
    (tmp_path / f"{name}.json").write_text(content)
    with pytest.raises(ConfigError, match=f"^--from: .*{name}.*{words}"):
        load_schemas(str(tmp_path), "--from")


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no event type"):
        load_schemas(str(tmp_path), "GATEWAY_CONTRACT")


def test_schema_is_kept_as_written(tmp_path: Path) -> None:
    """So is its order, by type and version."""
    folder = write_contract(tmp_path, task__completed__v10=COMPLETED, task__completed__v2={"type": "object"})
    found = load_schemas(folder, "GATEWAY_CONTRACT")
    assert {schema.name: schema.schema for schema in found} == {
        "task.completed.v2": {"type": "object"},
        "task.completed.v10": json.loads(json.dumps(COMPLETED)),
    }


def test_catastrophic_pattern_ends(tmp_path: Path) -> None:
    """The pattern is the operator's and the text a client's: backtracking is bounded, and then the text refused."""
    schema = {"properties": {"x": {"pattern": "^(x+x+)+(?=y)y$"}}}
    (found,) = load_schemas(write_contract(tmp_path, a__b__v1=schema), "GATEWAY_CONTRACT")
    mismatch = found.check(json.dumps({"data": {"x": "x" * 60_000}}).encode(), False)
    assert mismatch is not None
    assert mismatch.pointer == "/x"
