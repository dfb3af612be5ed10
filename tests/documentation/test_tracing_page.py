"""The examples of docs/tracing.md, run as they stand: spans of readers link to the publisher's."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from gathering_client import connect
from tests.documentation.pages import example
from tests.support.inprocess import RunningGateway
from tests.support.nodejs import NODE, needs_websocket
from tests.support.pauses import PATIENCE, until
from tests.support.settings import ROOT

CONTEXT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def is_followed(gate: RunningGateway) -> bool:
    return bool(gate.service.gateway.manager.of("acme").rooms.get("circle:7"))


async def test_python_processes_events_in_spans(gate: RunningGateway, capsys: Any) -> None:
    """Also where OpenTelemetry is not configured."""
    page: dict[str, Any] = {}
    exec(example("processing.py"), page)  # noqa: S102 - a program of the page
    async with connect(gate.url, token=gate.token(rooms=["circle:*"])) as client:
        async with client.subscribe("circle:7") as subscription:
            following = asyncio.create_task(page["follow"](subscription))
            await until(lambda: is_followed(gate))
            await gate.publish(circle_id=7, data={"n": 1}, traceparent=CONTEXT)
            await until(lambda: "{'n': 1}" in capsys.readouterr().out)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


@needs_websocket
async def test_javascript_links_to_the_publishers_span(gate: RunningGateway, tmp_path: Path) -> None:
    """From the frame, without a library."""
    (tmp_path / "client.js").write_text((ROOT / "gateway/web/js/client.js").read_text())
    values = f"const URL = '{gate.ws_url}', TOKEN = '{gate.token(rooms=['circle:*'])}';\n"
    (tmp_path / "page.mjs").write_text(values + example("tracing.js"))
    (tmp_path / "package.json").write_text('{"type": "module"}')
    node = await asyncio.create_subprocess_exec(
        *(NODE, "--no-warnings", "--experimental-websocket", "page.mjs"),
        cwd=tmp_path,
        env=os.environ,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        await until(lambda: is_followed(gate))
        await gate.publish(circle_id=7, traceparent=CONTEXT)
        assert node.stdout is not None
        async with asyncio.timeout(PATIENCE):
            (link,) = json.loads(await node.stdout.readline())
    finally:
        node.kill()
        await node.wait()
    _, trace_id, span_id, _ = CONTEXT.split("-")
    assert link == {"context": {"traceId": trace_id, "spanId": span_id, "traceFlags": 1, "isRemote": True}}
