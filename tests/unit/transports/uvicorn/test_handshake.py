"""The rules of the opening handshake, held against those of the websockets library (RFC 6455 section 4.2.1)."""

from base64 import b64encode
from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.exceptions import InvalidHandshake, InvalidHeaderFormat
from websockets.http11 import Request
from websockets.server import ServerProtocol

from gateway.transports.uvicorn.handshake import accept_response, handshake_fault, read_request

KEY = b64encode(b"x" * 16).decode()


def mostly(good: str, *others: str) -> st.SearchStrategy[list[str]]:
    """The values of one header: mostly the good one, now and then none, two, or something else."""
    words = st.sampled_from((good, *others)) | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
    return st.just([good]) | st.lists(words.map(str.strip), max_size=3)


def lists(good: str, *others: str) -> st.SearchStrategy[list[str]]:
    """The same for a header that is a list. Lines without an element are left out: RFC 9110 section 5.6.1 has them
    passed over, the library refuses them."""
    return mostly(good, *others).map(lambda values: [value for value in values if value.strip(", \t")])


CONNECTIONS = ("Upgrade", "upgrade", "keep-alive, Upgrade", "close", "UPGRADE,", ",upgrade", "a\tb", "upgrade;x=1")
UPGRADES = ("websocket", "WebSocket", "h2c", "websocket, h2c", "websocket/13", "web socket", ",websocket")
VERSIONS = ("13", "8", "13.0", "013", "13, 8", "+13", "1 3")
KEYS = (KEY, KEY[:-2], KEY + "=", KEY.replace("=", ""), KEY[:21] + "5==", "!" * 24, "!" + KEY, KEY[:5] + " " + KEY[5:])
OTHER_KEYS = st.binary(max_size=20).map(lambda data: [b64encode(data).decode()])
METHODS = ("GET", "POST", "HEAD", "get", "OPTIONS")
HEADERS = (CONNECTIONS, UPGRADES, VERSIONS, KEYS)
GOOD = ("GET", [CONNECTIONS[0]], [UPGRADES[0]], [VERSIONS[0]], [KEY])


def judged(head: bytes) -> bytes | Exception:
    """The library's answer to the challenge, or why it refuses the request."""
    protocol = ServerProtocol()
    protocol.receive_data(head)
    requests = protocol.events_received()
    if not requests:
        assert protocol.handshake_exc is not None
        return protocol.handshake_exc
    assert isinstance(requests[0], Request)
    try:
        return protocol.process_request(requests[0])[0].encode()
    except InvalidHandshake as refusal:
        return refusal


def with_one_that_is_odd(test: Callable[..., None]) -> Callable[..., None]:
    """The examples in which one part is not the usual one, which chance seldom finds, and each header missing, or
    there twice."""
    for at, values in enumerate((METHODS, *(([], [v[0]] * 2, *([x] for x in v)) for v in HEADERS))):
        for value in values:
            test = example(*GOOD[:at], value, *GOOD[at + 1 :])(test)
    return test


@settings(max_examples=400)
@given(
    st.just("GET") | st.sampled_from(METHODS),
    lists(*CONNECTIONS),
    lists(*UPGRADES),
    mostly(*VERSIONS),
    mostly(*KEYS) | OTHER_KEYS,
)
@with_one_that_is_odd
def test_handshakes_are_judged_as_the_websockets_library_judges_them(
    method: str, connection: list[str], upgrade: list[str], version: list[str], key: list[str]
) -> None:
    """The same are accepted, with the same answer to the challenge. Only of `Connection` nothing but the one option is
    looked at, whatever stands beside it."""
    named = {
        "Connection": connection,
        "Upgrade": upgrade,
        "Sec-WebSocket-Version": version,
        "Sec-WebSocket-Key": key,
    }
    lines = ["Host: x", *(f"{name}: {value}" for name, values in named.items() for value in values)]
    head = "\r\n".join([f"{method} / HTTP/1.1", *lines, "", ""]).encode()
    theirs, (_, _, headers) = judged(head), read_request(head)
    if isinstance(theirs, bytes):
        assert handshake_fault(method.encode(), headers) is None
        assert b"Sec-WebSocket-Accept: " + theirs + b"\r\n" in accept_response(headers, None, None)
    elif not (isinstance(theirs, InvalidHeaderFormat) and theirs.name == "Connection"):
        assert handshake_fault(method.encode(), headers) is not None, theirs
