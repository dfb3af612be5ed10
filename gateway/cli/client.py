"""The client commands: publish one event, follow rooms."""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from gateway.cli.errors import ClientError
from gateway.cli.resume import Resume
from gateway.core.connect_request import SUBPROTOCOL, WEBSOCKET_PATH
from gateway.core.credentials import BEARER_SUBPROTOCOL

_NO_CLOSE: Final = 1006
_GAP: Final = "some events were lost, since they are no longer in the log; continuing with later ones"
_START: Final = {None: " from now on", True: ", resumed", False: f"; {_GAP}"}
"""The report of a new stream, by `recovered` of the `subscribed` frame."""


def publish_event(url: str, token: str, event: Mapping[str, Any]) -> str:
    """Publish through `POST /events`; returns the `event_id`. Raises `ClientError`."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ClientError("--url: starts with http:// or https://")
    request = Request(  # noqa: S310 - the scheme was checked
        url.rstrip("/") + "/events",
        json.dumps(event).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {_header(token)}"},
    )
    try:
        with urlopen(request, timeout=10) as answer:  # noqa: S310
            return str(json.load(answer)["event_id"])
    except HTTPError as error:
        raise ClientError(_problem(error)) from None
    except (URLError, OSError, HTTPException, ValueError, KeyError) as error:
        raise ClientError(f"no answer from {url}: {getattr(error, 'reason', error)}") from None


def follow(
    url: str, token: str, rooms: Sequence[str], since: str | None, path: str = WEBSOCKET_PATH
) -> Iterator[dict[str, Any]]:
    """The events of `rooms`, without end: reconnects with backoff and resumes after a disconnect. Raises `ClientError`
    where a reconnect would not help."""
    scheme, _, rest = url.rstrip("/").partition("://")
    if scheme not in ("http", "https"):
        raise ClientError("--url: starts with http:// or https://")
    address = f"{'wss' if scheme == 'https' else 'ws'}://{rest}{path}"
    # The token as a subprotocol, since URLs are logged in more places than headers.
    offered = [Subprotocol(SUBPROTOCOL), Subprotocol(BEARER_SUBPROTOCOL + _header(token))]
    state = Resume(since)
    while True:
        query = {"rooms": ",".join(rooms), "client_id": "gateway-cli"} | ({"since": state.since} if state.since else {})
        code, reason = _NO_CLOSE, ""
        try:
            with connect(f"{address}?{urlencode(query)}", subprotocols=offered, max_size=None) as ws:
                yield from _events(ws, state, f"connected to {url}, following {' '.join(rooms)}")
        except ConnectionClosed as error:
            if error.rcvd is not None:
                code, reason = error.rcvd.code, error.rcvd.reason
        except (OSError, WebSocketException, ValueError, KeyError) as error:
            if not state.answered:  # a wrong address, and not a short outage
                raise ClientError(f"cannot connect to {url}: {error}") from None
        time.sleep(state.closed(code, reason, time.monotonic()))


def _events(ws: ClientConnection, state: Resume, connected: str) -> Iterator[dict[str, Any]]:
    """The events of one connection, until it ends or must be replaced."""
    for text in ws:
        frame = json.loads(text)
        if "event_id" in frame:
            yield frame
        gaps = state.gaps
        useful = state.receive(frame, time.monotonic())
        if frame["type"] == "subscribed":
            _report(connected + _START[frame["data"]["recovered"]])
        elif state.gaps > gaps:
            _report(_GAP)
        if not useful:
            return


def _report(text: str) -> None:
    # stderr, since stdout is for events
    print(f"gateway: {text}", file=sys.stderr, flush=True)


def _header(token: str) -> str:
    if not token:
        raise ClientError("--token: is missing; pass it, or set GATEWAY_TOKEN")
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ClientError("--token: not a valid token; get one with `gateway token`")
    return token


def _problem(error: HTTPError) -> str:
    try:
        problem = json.load(error)
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code}"
