"""The client commands, built on the Python client: publish one event, follow rooms."""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gateway.cli.errors import ClientError
from gateway.core.connect_request import WEBSOCKET_PATH
from gathering_client import Draft, Gap, GatewayError, StateChange
from gathering_client.sync import Client, connect

_GAP: Final = "some events were lost, since they are no longer in the log; continuing with later ones"
_INCOMPLETE: Final = "some items are missing, since the state of the log has bounds; continuing with the others"
_START: Final = {None: " from now on", True: ", resumed", False: f"; {_GAP}"}
"""The report of a new stream, by `recovered` of the change to live."""


def publish_event(url: str, token: str, draft: Draft) -> str:
    """Publish one event; returns its `event_id`. Raises `ClientError`."""
    try:
        with _client(url, token) as client:
            return client.publish(draft, patience=0).event_id
    except GatewayError as error:
        raise ClientError(str(error)) from None


def follow(
    url: str, token: str, rooms: Sequence[str], since: str | None, state: bool, path: str
) -> Iterator[Mapping[str, Any]]:
    """The events of `rooms` as frames, without end, with `state` after the items; changes of the stream are reported on
    stderr. Raises `ClientError` where a reconnect would not help, and where the first attempt finds no gateway."""
    logging.getLogger("gathering_client").addHandler(logging.NullHandler())  # stderr is for the lines of this command
    connected = f"connected to {url}, following {' '.join(rooms)}"

    def on_state(change: StateChange) -> None:
        if change.state == "live":
            items = state and change.recovered is None
            _report(connected + (", from its items on" if items else _START[change.recovered]))

    try:
        with _client(url, token, path) as client:
            subscription = client.subscribe(*rooms, since=since, state=state, patient=False, on_state=on_state)
            begun = False
            for item in subscription:
                if not isinstance(item, Gap):
                    begun = True
                    yield item.frame
                elif item.reason == "cursor_invalid" and not begun and since is not None:
                    raise ClientError("cursor_invalid: --since: not a cursor of this gateway; leave it out")
                elif item.reason == "state_incomplete":
                    _report(_INCOMPLETE)
                elif item.reason != "not_recovered":  # reported by the change to live
                    _report(_GAP)
    except GatewayError as error:
        raise ClientError(str(error)) from None


def _client(url: str, token: str, path: str = WEBSOCKET_PATH) -> Client:
    if not token:
        raise ClientError("--token: is missing; pass it, or set GATEWAY_TOKEN")
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ClientError("--token: not a valid token; get one with `gateway token`")
    try:
        return connect(url, token=token, client_id="gateway-cli", websocket_path=path)
    except ValueError as error:
        raise ClientError(f"--url: {error}") from None


def _report(text: str) -> None:
    # stderr, since stdout is for events
    print(f"gateway: {text}", file=sys.stderr, flush=True)
