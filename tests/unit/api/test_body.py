"""The body of a request in parts: the same bytes, in no large piece of memory."""

import tracemalloc
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.api import body as module
from gateway.api.body import PART, Body
from gateway.api.routes import read_body
from gateway.engine.fair_share import FairShare
from gateway.engine.ingest import IngestScheduler
from gateway.transports.uvicorn.endpoint import BODY_DEADLINE_KEY

SIZE = 8 * 1024 * 1024
SCOPE: dict[str, Any] = {"headers": [], "state": {BODY_DEADLINE_KEY: 30}}


@given(pieces=st.lists(st.binary(max_size=12), max_size=12), ends=st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_it_has_the_bytes_of_its_pieces(pieces: list[bytes], ends: tuple[int, int]) -> None:
    body, whole = Body(), b"".join(pieces)
    module.PART, before = 8, PART  # type: ignore[misc]
    try:
        for piece in pieces:
            body.append(piece)
    finally:
        module.PART = before  # type: ignore[misc]
    assert (bytes(body), len(body)) == (whole, len(whole))
    assert body.read(*ends) == whole[slice(*ends)]
    assert sum(len(part) < 4 for part in body.parts) <= len(body.parts) // 2 + 1


def test_pieces_of_a_byte_take_no_more_memory_than_large_ones() -> None:
    body = Body()
    for _ in range(3 * PART):
        body.append(b"x")
    assert len(body.parts) == 3


async def test_no_more_than_a_part_of_a_body_is_copied_at_once() -> None:
    """A buffer that grows is copied as a whole."""
    chunks = [bytes(PART) for _ in range(SIZE // PART)]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": chunks.pop(), "more_body": bool(chunks)}

    ingest = IngestScheduler(FairShare(lambda: 0.0))
    tracemalloc.start()
    try:
        body = await read_body(SCOPE, receive, SIZE, ingest, "acme")
        largest = max(trace.size for trace in tracemalloc.take_snapshot().traces)
    finally:
        tracemalloc.stop()
    assert len(body) == SIZE
    assert largest <= 2 * PART
