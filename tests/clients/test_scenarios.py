"""The shared scenarios with each client library: faults of networks, gateways, tokens and machines."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.scenarios import SCENARIOS, play
from tests.support.nodejs import NODE, needs_websocket

PYTHON = [sys.executable, "-m", "tests.clients.python_driver"]
JAVASCRIPT = [NODE, "--no-warnings", "--experimental-websocket", "tests/clients/js_driver.mjs"]

SOCKETS = {"drop", "restart", "crash", "expiry and refresh", "revoked", "load", "freeze", "half-open"}
"""The scenarios that depend on the driver of the socket too. The others test the core, which both faces of the Python
client share."""


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"].replace(" ", "-"))
async def test_python_with_asyncio(scenario: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await play(scenario, [*PYTHON, "asyncio"], tmp_path, caplog)


@pytest.mark.parametrize(
    "scenario",
    [one for one in SCENARIOS if one["name"] in SOCKETS],
    ids=lambda scenario: scenario["name"].replace(" ", "-"),
)
async def test_python_without_asyncio(
    scenario: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await play(scenario, [*PYTHON, "sync"], tmp_path, caplog)


@needs_websocket
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"].replace(" ", "-"))
async def test_javascript(scenario: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await play(scenario, JAVASCRIPT, tmp_path, caplog)
