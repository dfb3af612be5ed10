"""Actions of a driver for a stream, and the reports that follow them.

A driver calls `next_action`, performs the action, and reports with the method in the last column:

    action    | to do                                       | report
    ----------+---------------------------------------------+------------------------------------------------
    GetToken  | call the function for a token               | token, token_failed
    Open      | open a WebSocket                            | opened, or failed
    Send      | send a text                                 |
    Read      | receive a text, for at most `timeout`       | received, closed, or timed_out
    Load      | call the application's function             | loaded
    Close     | close the WebSocket                         |
    Wait      | wait                                        |
    Notify    | log, and notify the application             |
    Yield     | yield the item to the application           |
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from gathering_client.events import Cursor, Event, Gap, Mark, Snapshot


@dataclass(frozen=True, slots=True)
class GetToken:
    """Call the token function; `renew` while the connection continues with the old token."""

    renew: bool


@dataclass(frozen=True, slots=True)
class Open:
    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Send:
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Read:
    timeout: float | None


@dataclass(frozen=True, slots=True)
class Load:
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Close:
    pass


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of a subscription's connection, with its reason and close code. `retry_in` is the seconds until the next
    attempt; `recovered` comes with `live`: None for a new stream, False if events were lost."""

    state: Literal["connecting", "live", "reconnecting", "closed"]
    reason: str = ""
    code: int | None = None
    retry_in: float | None = None
    recovered: bool | None = None


@dataclass(frozen=True, slots=True)
class Notify:
    change: StateChange


Item = Event[Any] | Gap | Snapshot[Any] | Mark


@dataclass(frozen=True, slots=True)
class Yield:
    item: Item


Action = GetToken | Open | Send | Read | Load | Close | Wait | Notify | Yield
