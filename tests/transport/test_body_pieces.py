"""The body of a request is parsed as it is read; what comes behind it is still a request of its own."""

import json
from collections import Counter

import pytest

from gateway.transports.uvicorn.http_httptools import PIECE, GuardedHttpTools
from tests.support.inprocess import RunningGateway
from tests.support.raw_client import raw

EVENT = {"type": "task.created", "data": {"text": "x" * 16_000}, "circle_id": 1}


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_known_length_is_parsed_in_as_many_pieces_as_it_is_read_in(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch, chunked: bool
) -> None:
    """128 pieces of a read took as long as reading them. A chunked body, whose end is unknown, is parsed in small
    ones."""
    calls = Counter[str]()
    on_body, data_received = GuardedHttpTools.on_body, GuardedHttpTools.data_received

    def count_body(self: GuardedHttpTools, body: bytes) -> None:
        calls["pieces"] += 1
        on_body(self, body)

    def count_read(self: GuardedHttpTools, data: bytes) -> None:
        calls["reads"] += 1
        data_received(self, data)

    monkeypatch.setattr(GuardedHttpTools, "on_body", count_body)
    monkeypatch.setattr(GuardedHttpTools, "data_received", count_read)
    body = json.dumps({"events": [EVENT] * 40}).encode()
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    head = b"POST /events/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n%b\r\n%b\r\n\r\n" % (
        gate.token(scope="publish").encode(),
        b"Content-Type: application/json",
        length,
    )
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    behind = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with raw(gate.port) as client:
        await client.send(head + sent + behind * 2)
        answers = [await client.answer() for _ in range(3)]
    assert [answer.status for answer in answers] == [202, 200, 200]
    assert len(json.loads(answers[0].body)["results"]) == 40
    if chunked:
        assert calls["pieces"] >= len(body) // PIECE
    else:
        assert calls["pieces"] <= 2 * calls["reads"] + 1
