"""The body of a batch in pieces: the same value as the whole, whatever its events hold and however it is written."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import from_json

from gateway.api import batch_body
from gateway.api.batch_body import PIECE, parse_batch
from gateway.api.body import PART, Body
from gateway.api.problems import RequestMistake
from gateway.core.errors import GatewayError
from gateway.engine import ingest
from gateway.engine.fair_share import FairShare
from gateway.engine.ingest import ESCAPED, IngestScheduler

TRAPS = ["},{", "} , {", '"},{"', "]}", '\\"},\n{', "é},{"]


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "MAX_WAIT", 60.0)
    monkeypatch.setattr(ingest, "MAX_SECONDS", 60.0)


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what is parsed from now on."""
    sizes: list[int] = []

    def parse(body: bytes, **options: Any) -> Any:
        sizes.append(len(body))
        return from_json(body, **options)

    monkeypatch.setattr(batch_body, "from_json", parse)
    return sizes


async def parsed(body: bytes) -> Any:
    """The value of a body, or "invalid"."""
    parts = Body()
    for start in range(0, len(body), PART):
        parts.append(body[start : start + PART])
    with IngestScheduler(FairShare(time.monotonic)).batch() as batch:
        try:
            return await parse_batch(batch, "acme", parts)
        except ValueError:
            return "invalid"


def whole(body: bytes) -> Any:
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError:
        return "invalid"


VALUES = st.recursive(
    st.none() | st.integers() | st.sampled_from(TRAPS) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*TRAPS, "a", "events"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    events=st.lists(st.fixed_dictionaries({"a": VALUES}) | VALUES, max_size=8),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n")]),
    escaped=st.booleans(),
    around=st.sampled_from([("", ""), (" \n", "\t "), ("", "x"), ("[", "]"), ("\ufeff", "")]),
    end=st.sampled_from(["}", ',"more":1}', ',"events":[{"a":1},{"b":2}]}', ",}", "", "]}"]),
)
def test_pieces_have_the_events_of_the_whole(
    events: list[Any], separators: tuple[str, str], escaped: bool, around: tuple[str, str], end: str
) -> None:
    text = json.dumps({"events": events}, separators=separators, ensure_ascii=escaped)
    body = f"{around[0]}{text[:-1]}{end}{around[1]}".encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        for piece in (1, 9, 40):
            patch.setattr(batch_body, "PIECE", piece)
            assert asyncio.run(parsed(body)) == whole(body)


async def test_no_piece_of_a_large_body_is_much_larger_than_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 MiB, of events with all that looks like the end of one in them; and in ordinary ones."""
    sizes: list[int] = []
    copies: list[int] = []

    def parse(body: bytes, **options: Any) -> Any:
        sizes.append(len(body))
        return from_json(body, **options)

    def read(body: Body, start: int, stop: int, read: Callable[[Body, int, int], bytes] = Body.read) -> bytes:
        copies.append(stop - start)
        return read(body, start, stop)

    monkeypatch.setattr(batch_body, "from_json", parse)
    monkeypatch.setattr(Body, "read", read)
    for value in ("x" * 16_000, "},{" * 5_000, '"},{"type' * 1_000, [{"id": n, "n": {}} for n in range(500)]):
        body = json.dumps({"events": [{"type": "a.b", "data": {"of": value}, "circle_id": 1}] * 1_000}).encode()
        sizes.clear()
        copies.clear()
        assert len((await parsed(body))["events"]) == 1_000
        assert max(sizes) <= PIECE + 20_000
        assert sum(sizes) <= len(body)
        assert max(copies) <= PIECE + ESCAPED * 65_536
        assert sum(copies) <= 2 * len(body)


async def test_a_first_event_unlike_the_others_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no other event begins as the first one does, the body is divided all the same."""
    sizes = recorded(monkeypatch)
    event = {"type": "a.b", "data": {"of": "x" * 16_000}, "circle_id": 1}
    body = json.dumps({"events": [{"idempotency_key": "1", **event}, *[event] * 999]}).encode()
    assert len((await parsed(body))["events"]) == 1_000
    assert max(sizes) <= PIECE + 20_000


async def test_no_more_events_are_parsed_than_a_batch_may_have() -> None:
    """A piece more at most, so that the batch is refused for their number."""
    events = (await parsed(b'{"events":[' + b",".join([b'{"a":1}'] * 100_000) + b"]}"))["events"]
    assert 1_000 < len(events) < 50_000


NESTED = b",".join([b'{"type":1}'] * 200_000)


MANY = b",".join([b'{"type":"%b"}' % (b"a" * 1_000)] * 900)


def shown(events: list[Any]) -> list[Any]:
    """The events, with the code of an error in the place of one that was not parsed."""
    return [str(each.code) if isinstance(each, GatewayError) else each for each in events]


LONG = "message_too_large"


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b'{"events":[{"type":[' + NESTED + b"]}]}", [LONG]),
        (b'{"events":[{"type":1},{"type":[' + NESTED + b"]} , {}]}", [{"type": 1}, LONG, {}]),
        (
            b'{"events":[ 1,null,{"type":[' + b"1," * 1_000_000 + b'1]},"a",[],{"type":2}\n]}',
            [1, None, LONG, "a", [], {"type": 2}],
        ),
        (b'{"events":[{"type":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}]}", [LONG]),
        (b'{"events":["' + b'\\"' * 1_000_000 + b'",{"type":3}]}', [LONG, {"type": 3}]),
        (b'{"events":[{"type":"},{"},[[' + NESTED + b"]],12]}", [{"type": "},{"}, LONG, 12]),
    ],
)
async def test_an_event_that_is_too_long_is_refused_by_itself(
    body: bytes, events: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events before and behind it are parsed, in short steps."""
    sizes = recorded(monkeypatch)
    assert shown((await parsed(body))["events"]) == events
    assert max(sizes, default=0) <= PIECE + ESCAPED * 65_536 + 2  # brackets


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"more":[' + NESTED + b'],"events":[{"type":1}]}', 422),
        (b'{"events":[{"type":1}],"more":[' + NESTED + b"]}", 422),
        (b'{"events":[{"type":[' + NESTED + b']}],"events":[{"type":1}]}', 422),
        (b'{"events":{"type":[' + NESTED + b"]}}", 422),
        (b'[{"events":[' + NESTED + b"]}]", 422),
        (b'{"events":[{"type":1},' + NESTED, 400),
        (b'{"events":[' + MANY + b",]}", 400),
        (b'{"events":[' + MANY + b",{]}", 400),
        (b'{"events":[' + MANY + b' {"type":1}]}', 400),
        (b'{"events":[' + MANY + b",{'type':1}]}", 400),
        (b'{"events":[{"type":[' + NESTED + b"]},]}", 400),
        (b'{"events":[{"type":[' + NESTED + b"]} 1]}", 400),
        (b'{"events":[{"type":[' + NESTED + b"]}", 400),
        (b"x" * 1_000_000, 400),
    ],
)
async def test_a_large_body_that_is_no_batch_is_refused(
    body: bytes, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the status of a small one, and in short steps."""
    sizes = recorded(monkeypatch)
    with pytest.raises(RequestMistake) as refused:
        await parsed(body)
    assert refused.value.status_code == status
    assert max(sizes, default=0) <= PIECE + ESCAPED * 65_536 + 2


async def test_events_of_any_valid_size_are_taken_however_they_are_escaped() -> None:
    event = {"type": "\x01" * 65_000}
    body = json.dumps({"events": [event, {"type": "a"}, event]}).encode()
    assert len(body) > 2 * 6 * 65_000 > PIECE
    assert await parsed(body) == whole(body)


async def test_events_in_which_pieces_could_end_anywhere_are_found_one_by_one() -> None:
    event = {"type": [{"type": 1}] * 9_000}
    body = json.dumps({"events": [event, {"type": 2}, event, event, {"type": 3}]}).encode()
    assert await parsed(body) == whole(body)


async def test_events_of_objects_like_events_cost_a_few_times_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = recorded(monkeypatch)
    body = json.dumps({"events": [{"type": "a.b", "data": {"list": [{"type": 1}] * 1_000}}] * 1_000}).encode()
    assert await parsed(body) == whole(body)
    assert sum(sizes) <= 4 * len(body)
