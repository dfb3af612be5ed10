"""Drafts of events, their receipts, and the retries of a request."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gathering_client.codes import Retry, retry_after_error
from gathering_client.errors import GatewayError, Refused, TokenRefused, Unreachable
from gathering_client.events import Cursor, EventType

MAX_BATCH: Final = 1_000
"""Events per request that the gateway accepts."""

KEY_LIFETIME: Final = 120.0
"""Seconds for which the gateway remembers an idempotency key at least; a later retry could deliver twice."""

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


def _new_key() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to be published. `ids` are for rooms of other kinds, such as `{"team_id": 7}`.

    The idempotency key belongs to the draft, so a draft that is sent twice is delivered once. A draft can be pickled.
    In a task that may run again, pass the draft as an argument, or set a key that stays the same.
    """

    type: str
    data: Mapping[str, Any] = field(default_factory=dict)
    circle_id: int | str | None = None
    project_id: int | str | None = None
    user_id: str | None = None
    source_agent_id: int | str | None = None
    key: str | None = None
    op: str | None = None
    version: int | None = None
    traceparent: str | None = None
    tenant: str | None = None
    ids: Mapping[str, int | str] = field(default_factory=dict)
    idempotency_key: str = field(default_factory=_new_key)

    def body(self) -> dict[str, Any]:
        """The JSON object of the request, without absent fields."""
        names = (
            "circle_id",
            "project_id",
            "user_id",
            "source_agent_id",
            "key",
            "op",
            "version",
            "traceparent",
            "tenant",
        )
        fields = {name: value for name in names if (value := getattr(self, name)) is not None}
        base = {"type": self.type, "data": self.data, "idempotency_key": self.idempotency_key}
        return {**base, **fields, **self.ids}


def draft_of(event: "Draft | str | EventType[Any]", data: Any, fields: Mapping[str, Any]) -> Draft:
    """The draft from the arguments of `publish`: a draft, or a type with its data and fields."""
    if isinstance(event, Draft):
        if data is not None or fields:
            raise TypeError("a Draft has its data and fields already")
        return event
    name = event.name if isinstance(event, EventType) else event
    return Draft(name, {} if data is None else data, **fields)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The confirmation that an event is in the log; `duplicate` if an earlier attempt had appended it."""

    event_id: Cursor
    duplicate: bool


class Attempts:
    """The retries of one request: after temporary errors, with full jitter, for `patience` seconds."""

    def __init__(self, patience: float, now: float, chance: Callable[[], float]) -> None:
        if not 0 <= patience < KEY_LIFETIME:
            raise ValueError(
                f"patience: from 0 to under {KEY_LIFETIME:g} seconds, for which the gateway remembers keys"
            )
        self._ends = now + patience
        self._chance = chance
        self._number = 0
        self._renewed = False

    def wait_after(self, error: GatewayError, now: float, refreshable: bool) -> float:
        """The seconds to wait before the next attempt. Raises the error if a retry would not help."""
        if retry_after_error(error.code) is Retry.FRESH_TOKEN and refreshable and not self._renewed:
            self._renewed = True
            return 0.0
        wait = self._pause(error)
        if not error.temporary or now + wait > self._ends:
            raise error
        return wait

    def again(self, results: Mapping[int, "Receipt | Refused"], now: float) -> tuple[list[int], float]:
        """The indexes of the events of a batch to send again, and the seconds to wait before."""
        left = [number for number, result in results.items() if _is_temporary(result)]
        if not left:
            return [], 0.0
        wait = self._pause(max((results[number] for number in left), key=_asked))
        return (left, wait) if now + wait <= self._ends else ([], 0.0)

    def _pause(self, error: object) -> float:
        pause = self._chance() * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**self._number)
        self._number = min(self._number + 1, 30)
        return _asked(error) + pause


def _asked(error: object) -> float:
    """The seconds of `retry_after`; 0 without it."""
    asked: float | None = error.retry_after if isinstance(error, Refused) else None
    return 0.0 if asked is None else asked


def _is_temporary(result: "Receipt | Refused") -> bool:
    return isinstance(result, Refused) and result.temporary


def refusal(code: str, message: str, more: Mapping[str, Any], status: int | None = None) -> Refused:
    """The error of an `error` frame, a problem document, or a batch result."""
    kind = TokenRefused if code.startswith("token_") else Refused
    return kind(code, message, more.get("rooms", ()), more.get("retry_after"), status)


def results_of(drafts: Sequence[Draft], results: Sequence[Mapping[str, Any]]) -> list[Receipt | Refused]:
    """The outcomes of a batch, in the order of its drafts."""
    if len(drafts) != len(results):
        raise Unreachable("unreachable", "the answer to the batch has another length")
    return [
        refusal(result["error"]["code"], result["error"]["message"], result["error"])
        if "error" in result
        else Receipt(Cursor(result["event_id"]), result["duplicate"])
        for result in results
    ]
