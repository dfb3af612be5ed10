"""Selection of a subscription: its rooms, and what of their past is requested."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from gathering_client.events import Event

MAX_QUERY: Final = 7_500
"""Characters; the gateway accepts a request line of 8 KiB."""

ALL_ROOMS: Final = "*"
"""In place of rooms: all rooms that the token grants by name."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The rooms and options of a subscription. `loads` if the application loads its state after each gap, which takes a
    cursor of its own."""

    rooms: tuple[str, ...]
    client_id: str | None = None
    since: str | None = None
    state: bool = False
    history: int = 0
    loads: bool = False

    def __post_init__(self) -> None:
        if not self.rooms:
            raise ValueError("name at least one room")
        if self.loads and (self.since is not None or self.state or self.history):
            raise ValueError("`load` takes a cursor of its own: leave out since, state and history")
        if self.state and self.history:
            raise ValueError("ask for state or for history, not for both")

    @property
    def starts_over(self) -> bool:
        """Whether the stream starts over after a gap, with the state from the application or from the gateway."""
        return self.loads or self.state

    def includes(self, event: Event[Any]) -> bool:
        """Whether the event is of one of the rooms. Every connection receives the user's own room besides."""
        return ALL_ROOMS in self.rooms or not event.rooms.isdisjoint(self.rooms)

    def among(self, rooms: Iterable[str]) -> list[str]:
        """The names of `rooms` that are in the selection."""
        return [room for room in rooms if room in self.rooms]

    def query(self, position: Mapping[str, str], with_rooms: bool) -> str:
        """The query of the URL. Raises `ValueError` if it is too long."""
        rooms = {"rooms": ",".join(dict.fromkeys(self.rooms))} if with_rooms else {}
        label = {"client_id": self.client_id} if self.client_id else {}
        query = urlencode({**rooms, **label, **position}, safe=":,*")
        if len(query) > MAX_QUERY:
            raise ValueError("the names of the rooms are too long for one subscription: use several subscriptions")
        return query

    def history_command(self, count: int) -> str:
        """The command that joins the rooms with their latest events, which a URL cannot request."""
        return json.dumps({"type": "subscribe", "id": "history", "rooms": list(self.rooms), "history": count})
