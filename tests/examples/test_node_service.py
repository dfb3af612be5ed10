"""The Node service: its copy of the tasks, by events and, after a gap, by the database."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.documentation.pages import example
from tests.documentation.shell import PATIENCE, Shell
from tests.examples.programs import copy_example
from tests.support.inprocess import RunningGateway, running
from tests.support.nodejs import needs_npm
from tests.support.pauses import until_equal
from tests.support.proxy import proxied
from tests.support.settings import settings_for

pytestmark = needs_npm


@pytest.fixture
async def gate() -> AsyncIterator[RunningGateway]:
    """A gateway that keeps five events."""
    async with running(settings_for(log_max_events=5, log_min_seconds=1)) as gate:
        yield gate


async def test_the_copy_is_current(gate: RunningGateway, npm_package: Path, tmp_path: Path) -> None:
    """With the database's tasks, then with events, and after a gap with the database's again."""
    copy_example("node-service", tmp_path, npm_package)

    def board() -> dict[str, Any]:
        path = tmp_path / "board.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    async with proxied(gate.port) as network:
        shell = Shell(RunningGateway(gate.service, network.port), tmp_path)
        async with shell.running(example("node service"), GATEWAY_URL=shell.gate.url, GATEWAY_TOKEN=gate.token()):
            await until_equal(board, {"81": "open", "82": "done"}, PATIENCE)
            await gate.publish(circle_id=7, data={"task": 81})
            await gate.publish(type="task.created", circle_id=7, data={"task": 83})
            await until_equal(board, {"81": "done", "82": "done", "83": "open"})
            network.partition()
            for task in range(84, 94):
                await gate.publish(type="task.created", circle_id=7, data={"task": task})
            (tmp_path / "tasks.json").write_text(json.dumps({str(task): "open" for task in range(84, 94)}))
            network.heal()
            network.reset()
            await until_equal(board, {str(task): "open" for task in range(84, 94)}, PATIENCE)
            await gate.publish(circle_id=7, data={"task": 93})
            await until_equal(lambda: board()["93"], "done")
    assert shell.errors == ""
