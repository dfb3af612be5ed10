"""The command line's side of the wire: publish one event, follow some rooms."""

import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from gateway.core.connect_request import SUBPROTOCOL

_BEARER: Final = "gateway.bearer."
_TERMINAL: Final = frozenset({4400, 4401, 4403, 4409})
_GAP: Final = "some events are gone from the log; going on with what follows"
_START: Final = {None: " from now on", True: ", resumed", False: f"; {_GAP}"}
"""How a stream begins, by `recovered` of the `subscribed` frame."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0


class ClientError(Exception):
    """What went wrong, in one line and with no token in it."""


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


def follow(url: str, token: str, rooms: Sequence[str], since: str | None) -> Iterator[dict[str, Any]]:
    """The events of `rooms`, for ever: comes back with its cursor when the connection breaks. Raises `ClientError`."""
    scheme, _, rest = url.rstrip("/").partition("://")
    if scheme not in ("http", "https"):
        raise ClientError("--url: starts with http:// or https://")
    address = f"{'wss' if scheme == 'https' else 'ws'}://{rest}/ws/dashboard"
    # The token as a subprotocol: a URL ends up in more places than a header.
    offered = [Subprotocol(SUBPROTOCOL), Subprotocol(_BEARER + _header(token))]
    pause, met = _FIRST_PAUSE, False
    while True:
        query = urlencode({"rooms": ",".join(rooms), **({"since": since} if since else {}), "client_id": "gateway-cli"})
        try:
            with connect(f"{address}?{query}", subprotocols=offered, max_size=None) as ws:
                for text in ws:
                    frame = json.loads(text)
                    pause, met = _FIRST_PAUSE, True
                    if "event_id" in frame:
                        since = frame["event_id"]
                        yield frame
                    elif frame["type"] == "error" and frame["data"]["code"] != "rate_limited":
                        raise ClientError(f"{frame['data']['code']}: {frame['data']['message']}")
                    elif "cursor" in frame["data"]:
                        gap = frame["type"] == "stream.gap" or frame["data"].get("recovered") is False
                        if frame["type"] == "subscribed":
                            start = _START[frame["data"]["recovered"]]
                            _report(f"connected to {url}, following {' '.join(rooms)}{start}")
                        elif gap:
                            _report(_GAP)
                        if gap or since is None:
                            since = frame["data"]["cursor"]
        except ConnectionClosed as error:
            if error.rcvd is not None and error.rcvd.code in _TERMINAL:
                raise ClientError(f"closed: {error.rcvd.reason} ({error.rcvd.code})") from None
        except (OSError, WebSocketException, ValueError) as error:
            if not met:  # a wrong address, rather than a server that is away for a moment
                raise ClientError(f"cannot connect to {url}: {error}") from None
        time.sleep(random.uniform(0, pause))  # noqa: S311 - full jitter, so that clients do not come back all at once
        pause = min(_LONGEST_PAUSE, pause * 2)


def _report(text: str) -> None:
    # On the error output: the standard one is for events.
    print(f"gateway: {text}", file=sys.stderr, flush=True)


def _header(token: str) -> str:
    if not token:
        raise ClientError("a token is needed: --token, or GATEWAY_TOKEN")
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ClientError("--token: is no token")
    return token


def _problem(error: HTTPError) -> str:
    try:
        problem = json.load(error)
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code}"
