"""uWebSockets through socketify, with its own topics: `python -m benchmarks.servers.uws PORT`."""

import sys
from collections import deque
from datetime import UTC, datetime
from itertools import count
from typing import Any

from socketify import App, AppListenOptions, CompressOptions, OpCode

from benchmarks.load.publisher import compact, event

app: Any = App()
numbers = count(1)
orders: deque[tuple[str, ...]] = deque()
timers: deque[Any] = deque(maxlen=1000)  # kept alive until they have fired


def upgrade(response: Any, request: Any, context: Any) -> None:
    headers = [request.get_header(f"sec-websocket-{name}") for name in ("key", "protocol", "extensions")]
    response.upgrade(*headers, context, request.get_query("rooms").split(","))


def opened(socket: Any) -> None:
    for room in socket.get_user_data():
        socket.subscribe(room)


def order(response: Any, request: Any) -> None:
    orders.append(tuple(request.get_parameter(i) for i in range(4)))
    if len(orders) == 1:
        soon()
    response.end("")


def publish(_: Any) -> None:
    """Carry out one order in a turn of the loop of its own: within an HTTP handler uWebSockets would join nothing."""
    events, pad, at, rooms = orders.popleft()
    names = rooms.split(",")
    for _ in range(int(events)):
        timestamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        fields = {**event(int(pad), names, int(at)), "event_id": f"evt_{next(numbers):028}", "timestamp": timestamp}
        body = compact(fields)
        for name in names:
            app.publish(name, body, OpCode.TEXT)
    if orders:
        soon()


def soon() -> None:
    timers.append(app.loop.set_timeout(0, publish, None))


app.ws(
    "/",
    {
        "compression": CompressOptions.DISABLED,
        "max_backpressure": 16 * 1024 * 1024,
        "idle_timeout": 960,
        "upgrade": upgrade,
        "open": opened,
    },
)
app.get("/publish/:count/:pad/:at/:rooms", order)
app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"))
app.loop.uv_loop.run()
