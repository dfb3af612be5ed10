"""A driver of a stream without a network: frames come when the test says, and time passes by waiting."""

import json
from typing import Any

from gathering_client.actions import Action, Close, GetToken, Load, Notify, Open, Read, Send, StateChange, Wait, Yield
from gathering_client.events import Event, Gap, Mark, Snapshot
from gathering_client.selection import Selection
from gathering_client.stream import Stream

NOW = "2026-01-15T10:30:00.000Z"
LATER = "2026-01-15T10:40:00.000Z"


def event_frame(n: int | str, **fields: Any) -> dict[str, Any]:
    return {"type": "a.b", "data": {"n": n}, "circle_id": 1, "event_id": f"evt_{n}", "timestamp": NOW, **fields}


def control_frame(type: str, id: str | None = None, **data: Any) -> dict[str, Any]:
    return {"type": type, "data": data, "timestamp": NOW, **({} if id is None else {"id": id})}


def established(cursor: str = "evt_head", **more: Any) -> dict[str, Any]:
    return control_frame("connection.established", cursor=cursor, expires_at=LATER, user_id="ada", **more)


def subscribed(
    recovered: bool | None = None, replayed: int = 0, cursor: str = "evt_head", **more: Any
) -> dict[str, Any]:
    return control_frame("subscribed", recovered=recovered, replayed=replayed, cursor=cursor, **more)


class ScriptedDriver:
    """Runs a stream up to the point where it reads. `yielded`, `opened` (URLs), `sent`, `changes`, `waits` and `loads`
    say what it asked for; a function for tokens returns `token-1`, `token-2` and so on."""

    def __init__(
        self,
        *rooms: str,
        token: str | None = "token-0",
        chance: float = 0.5,
        marks: bool = False,
        patient: bool = True,
        **options: Any,
    ) -> None:
        selection = Selection(rooms or ("circle:1",), **options)
        self.stream = Stream("ws://gateway/ws", selection, token, lambda: chance, marks=marks, patient=patient)
        self.now = 1_000.0
        self.connected = False
        self.yielded: list[Event[Any] | Gap | Snapshot[Any] | Mark] = []
        self.cursors: list[str | None] = []
        self.opened: list[str] = []
        self.tokens: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.changes: list[StateChange] = []
        self.waits: list[float] = []
        self.loads: list[str] = []
        self.reading: Read | None = None
        self._tokens = 0

    def run(self) -> None:
        """Do what there is to do, until the stream reads."""
        while not isinstance(action := self.stream.next_action(self.now), Read):
            self._do(action)
        assert self.connected
        self.reading = action

    def _do(self, action: Action) -> None:
        match action:
            case Open(url, token):
                assert not self.connected, "the connection before was not closed"
                self.opened.append(url)
                self.tokens.append(token)
                self.connected = True
                self.stream.opened(self.now)
            case Send(text):
                self.sent.append(json.loads(text))
            case GetToken():
                self._tokens += 1
                self.stream.token(f"token-{self._tokens}")
            case Load(cursor):
                self.loads.append(cursor)
                self.stream.loaded(f"state {len(self.loads)}", cursor)
            case Wait(seconds):
                self.waits.append(seconds)
                self.now += seconds
            case Close():
                self.connected = False
            case Notify(change):
                self.changes.append(change)
            case Yield(item):
                self.yielded.append(item)
                self.cursors.append(self.stream.cursor)

    def receive(self, *frames: dict[str, Any]) -> None:
        """Have these frames come, and do what follows of them."""
        for frame in frames:
            self.run()
            self.stream.received(json.dumps(frame), self.now)
        self.run()

    def close(self, code: int | None = None, reason: str = "") -> None:
        """Have the connection end, and come back."""
        self.run()
        self.stream.closed(code, reason, self.now)
        self.run()

    def begin(self, *frames: dict[str, Any]) -> None:
        """Have the first frames come."""
        self.receive(established(), *(frames or (subscribed(),)))

    @property
    def numbers(self) -> list[Any]:
        """`data.n` of the events, and the other items, as they came."""
        return [item.data["n"] if isinstance(item, Event) else item for item in self.yielded]

    @property
    def query(self) -> str:
        """The query of the newest connection, without the rooms."""
        return self.opened[-1].partition("?")[2].removeprefix("rooms=circle:1").removeprefix("&")
