"""`gateway contract`: its output and its exit status."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from tests.support.contracts import COMPLETED, write_contract

WIDER = {**COMPLETED, "properties": {**COMPLETED["properties"], "more": {"type": "string"}}}
OTHER = {**COMPLETED, "required": ["task_id"]}
OPEN = {name: value for name, value in COMPLETED.items() if name != "additionalProperties"}
OPEN_WIDER = {**OPEN, "properties": WIDER["properties"]}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["contract", *arguments])


def folder(path: Path, schema: dict[str, Any]) -> str:
    return write_contract(path, task__completed__v1=schema)


@pytest.mark.parametrize(
    ("earlier", "later", "status", "words"),
    [
        (COMPLETED, WIDER, 0, "contract OK: compatible"),
        (COMPLETED, OTHER, 1, "refused: task.completed.v1 at /properties/result: is no longer required"),
        (OPEN, OPEN_WIDER, 2, "not proved: task.completed.v1 at /properties/more: is new"),
    ],
)
@pytest.mark.parametrize("form", ["folder", "file"])
def test_change_decides_the_exit_status(
    tmp_path: Path, earlier: dict[str, Any], later: dict[str, Any], status: int, words: str, form: str
) -> None:
    against = folder(tmp_path / "earlier", earlier)
    if form == "file":
        against = str(tmp_path / "contract.json")
        types = {"task.completed": {"newest": 1, "versions": {"1": earlier}}}
        Path(against).write_text(json.dumps({"hash": "…", "types": types}))
    done = run("check", "--contract", folder(tmp_path / "later", later), "--against", against)
    assert (done.exit_code, words in done.stdout) == (status, True), done.output


def test_open_object_is_warned_of(tmp_path: Path) -> None:
    done = run("check", "--contract", folder(tmp_path / "a", OPEN))
    assert (done.exit_code, "warning: task.completed.v1: an object is open" in done.stdout) == (0, True)
    done = run("check", "--contract", folder(tmp_path / "b", COMPLETED))
    assert (done.exit_code, done.stdout) == (0, "contract OK: 1 schema\n")


def test_setting_names_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`GATEWAY_CONTRACT`, unless an option does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GATEWAY_CONTRACT", raising=False)
    done = run("check")
    assert (done.exit_code, done.stderr) == (
        2,
        "gateway: GATEWAY_CONTRACT: is not set; set it, or pass --contract\n",
    )
    monkeypatch.setenv("GATEWAY_CONTRACT", folder(tmp_path / "a", COMPLETED))
    assert run("check").exit_code == 0


@pytest.mark.parametrize("content", [None, "{", "{}", "[]", '{"types": {"Task": {"versions": {"1": {}}}}}'])
def test_unreadable_contract_is_one_line(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "contract.json"
    if content is not None:
        path.write_text(content)
    done = run("check", "--contract", folder(tmp_path / "a", COMPLETED), "--against", str(path))
    assert done.exit_code == 2
    assert done.stderr.startswith(f"gateway: --against: {path}: ")
    assert done.stderr.count("\n") == 1
