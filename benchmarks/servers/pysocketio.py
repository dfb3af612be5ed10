"""A node of python-socketio, WebSocket only, with its own rooms: `python -m benchmarks.servers.pysocketio PORT`.

BENCH_REDIS is the address of the Redis that its manager shares with the other nodes. `POST /events/batch` takes what
the gateway's takes, `{"events": [...]}`, and answers 202 when all are emitted; it asks for no token and judges nothing.
"""

import json
import os
import sys
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import parse_qs

import socketio
import uvicorn

manager = socketio.AsyncRedisManager(os.environ["BENCH_REDIS"])
# The pings are put off: the load client does not speak Socket.IO's own.
server = socketio.AsyncServer(async_mode="asgi", client_manager=manager, transports=["websocket"], ping_interval=600)
numbers = count(1)


@server.event  # type: ignore[untyped-decorator]
async def connect(sid: str, environ: dict[str, Any], auth: object) -> None:
    for room in parse_qs(environ["QUERY_STRING"])["rooms"][0].split(","):
        await server.enter_room(sid, room)


async def publish(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An event of the gateway's shape, emitted to its circle's room."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    for event in json.loads(body)["events"]:
        event["event_id"] = f"evt_{next(numbers):028}"
        event["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        await server.emit("event", event, to=f"circle:{event['circle_id']}")
    await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    app = socketio.ASGIApp(server, publish)
    port = int(sys.argv[1])
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning", ws_per_message_deflate=False)
