"""The types that `gateway contract types` prints: TypeScript for the JavaScript client, `TypedDict` for Python."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from gateway.cli.main import app
from tests.support.contracts import COMPLETED, COMPLETED_2, write_contract
from tests.support.nodejs import PACKAGE, needs_npm

NODE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": 'A "node" */ of\na tree',
    "properties": {
        "then": {"type": "array", "items": {"$ref": "#"}},
        "from": {"$ref": "#/$defs/Place"},
        "list-of": {"type": "array", "items": {"type": ["string", "null"]}},
        "count": {"type": "object", "additionalProperties": {"type": "integer"}},
        "either": {"oneOf": [{"const": "x"}, {"type": "object", "properties": {"y": {"enum": [1, True, None, "'"]}}}]},
        "plain": {"type": "string", "description": "words"},
    },
    "required": ["plain"],
    "$defs": {"Place": {"type": "object", "properties": {"at": {"type": "number"}, "class": {}}, "required": ["at"]}},
}
CONTRACT = {
    "task__completed__v1": COMPLETED,
    "task__completed__v2": COMPLETED_2,
    "run__tree__v1": NODE_SCHEMA,
    "run__any__v3": {"type": "object"},
}

USE_TS = """
import { connect, type GatewayEvent } from 'gathering-gateway';
import { CONTRACT, type Events, type RunTreeV1 } from './events.js';

CONTRACT satisfies string;

const client = connect<Events>({ url: '/ws/dashboard', token: 'jwt' });
client.room('circle:7', {
  onEvent(event: GatewayEvent<Events>) {
    if (event.type === 'task.completed') {
      const id: number | string = event.data.task_id;
      if ('result' in event.data) event.data.result satisfies 'ok' | 'failed';
      // @ts-expect-error: no such member
      event.data.gone;
      return id;
    }
    if (event.type === 'run.tree') {
      const then: RunTreeV1[] | undefined = event.data.then;
      event.data.from?.at.toFixed();
      event.data['list-of']?.map((word) => word?.toUpperCase());
      event.data.count?.anything?.toFixed();
      event.data.plain.toUpperCase();
      return then?.length;
    }
    // @ts-expect-error: no such type
    return event.type === 'task.gone';
  },
});
client.publish({ type: 'task.completed', version: 1, data: { task_id: 7, result: 'ok' }, circle_id: 7 });
client.publish({ type: 'run.any', data: { x: 1 } });
// @ts-expect-error: the wrong value
client.publish({ type: 'task.completed', data: { task_id: 7, result: 'maybe' } });
// @ts-expect-error: a member is missing
client.publish({ type: 'run.tree', data: {} });
"""

USE_PY = """
from events import CONTRACT, RunTree, TaskCompleted, TaskCompletedV1, TaskCompletedV2

both: list[TaskCompleted] = [TaskCompletedV1(task_id=7, result="ok"), TaskCompletedV2(task_id="7")]
tree: RunTree = {"plain": "x", "then": [{"plain": "y"}], "list-of": ["a", None], "from": {"at": 1.5}, "either": "x"}
wrong: TaskCompletedV1 = {"task_id": "7", "result": "ok"}  # type: ignore[typeddict-item]
missing: RunTree = {}  # type: ignore[typeddict-item]
print(len(both), tree["plain"], len(CONTRACT))
"""


def printed(tmp_path: Path, language: str) -> str:
    arguments = ["contract", "types", "--contract", write_contract(tmp_path / "contract", **CONTRACT)]
    done = CliRunner().invoke(app, [*arguments, "--lang", language])
    assert done.exit_code == 0, done.output
    return done.output


@needs_npm
def test_typescript_types_fit_the_client(npm_package: Path, tmp_path: Path) -> None:
    """Compiled by the TypeScript of clients/js, against the package as npm would publish it."""
    (tmp_path / "events.ts").write_text(printed(tmp_path, "ts"))
    (tmp_path / "use.ts").write_text(USE_TS)
    (tmp_path / "package.json").write_text(json.dumps({"type": "module"}))
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules/gathering-gateway").symlink_to(npm_package)
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022"]
    command = [str(PACKAGE / "node_modules/.bin/tsc"), *options, "use.ts"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_python_types_pass_mypy(tmp_path: Path) -> None:
    """In strict mode, and they can be imported."""
    (tmp_path / "events.py").write_text(printed(tmp_path, "py"))
    (tmp_path / "use.py").write_text(USE_PY)
    run = [sys.executable, "use.py"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "2 x 32\n"), done.stderr
    check = [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.11", "use.py"]
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
