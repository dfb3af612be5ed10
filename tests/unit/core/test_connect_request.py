"""Data of a client's connect request, and its redaction in logs."""

from ipaddress import ip_network
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.errors import TokenInvalid, TokenMissing
from auth.grants import Grants
from auth.identity import Identity
from gateway.core.addresses import client_address
from gateway.core.connect_request import read_connect_request
from gateway.core.credentials import bearer_tokens, redact_query, require_single_token
from gateway.core.headers import group_headers, parse_query
from gateway.core.origin import OriginPolicy

SECRET = "s3cr3t-canary"


def test_first_place_wins() -> None:
    """Header, subprotocol, query: in this order; equal ones are one, two that differ are refused."""
    headers = {
        b"sec-websocket-protocol": [b"gateway.v1, gateway.bearer.two"],
        b"authorization": [b"bEaReR one", b"Basic b25l"],
    }
    assert tuple(bearer_tokens(parse_query(b"token=three&x=1"), headers)) == ("one", "two", "three")
    assert require_single_token(("a", "a")) == "a"
    for tokens in ((), ("",), ("", "")):
        with pytest.raises(TokenMissing):
            require_single_token(tokens)
    for disagreeing in (("a", "b"), ("", "a"), ("a", "")):
        with pytest.raises(TokenInvalid):
            require_single_token(disagreeing)


def test_handshake_is_read() -> None:
    """Label, rooms, cursor and subprotocol; rooms once each, from every parameter of the name."""
    query = parse_query(
        b"rooms=circle%3A7,project:3&rooms=circle:7,,tenant&since=evt_x&client_id=caf%C3%A9&client_id=second"
    )
    headers = group_headers([(b"sec-websocket-protocol", b"other"), (b"sec-websocket-protocol", b"gateway.v1")])
    handshake = read_connect_request(query, headers, bearer_tokens(query, headers), "10.0.0.1")
    assert handshake.rooms == ("circle:7", "project:3", "tenant")
    assert (handshake.since, handshake.client_id, handshake.subprotocol) == ("evt_x", "café", "gateway.v1")
    assert read_connect_request([], {}, bearer_tokens([], {}), "").subprotocol is None


@pytest.mark.parametrize(
    ("asked", "rooms"),
    [
        ("*", ("circle:1", "tenant", "user:bob")),
        ("tenant,*", ("tenant", "circle:1", "user:bob")),
        ("*,project:3", ("circle:1", "tenant", "user:bob", "project:3")),
        ("project:3", ("project:3",)),
        ("circle:*", ("circle:*",)),
        ("", ()),
    ],
)
def test_a_star_stands_for_the_rooms_that_a_token_names(asked: str, rooms: tuple[str, ...]) -> None:
    """In its place, each once, without patterns and without revoked rooms; other names stay as they are."""
    grants = Grants.parse(["circle:1", "circle:2", "circle:*", "tenant", "user:bob"])
    identity = Identity("ada", "acme", grants, frozenset(), "jti", 0, 60, revoked_rooms=frozenset({"circle:2"}))
    request = read_connect_request([("rooms", asked)], {}, bearer_tokens([], {}), "")
    assert request.rooms_for(identity) == rooms


def test_secrets_show_nowhere() -> None:
    """Not in the representation of a handshake nor of its tokens, however it is formatted."""
    headers = {b"authorization": [f"Bearer {SECRET}".encode()]}
    query = parse_query(f"token={SECRET}".encode())
    handshake = read_connect_request(query, headers, bearer_tokens(query, headers), "10.0.0.1")
    assert handshake.token() == SECRET
    shown = [repr(handshake), str(handshake), f"{handshake.tokens}", f"{handshake.tokens!r}"]
    assert not any(SECRET in text for text in shown)


@st.composite
def spelled(draw: st.DrawFn, word: str) -> str:
    """`word` with any of its characters percent-encoded, in either case."""
    return "".join(draw(st.sampled_from([c, f"%{ord(c):02x}", f"%{ord(c):02X}"])) for c in word)


@given(
    st.lists(
        st.sampled_from(["token", "ticket"]).flatmap(spelled).map(lambda name: f"{name}={SECRET}")
        | st.from_regex(r"[a-z]{0,4}(=[a-z0-9%+]{0,6})?", fullmatch=True),
        max_size=6,
    )
)
def test_credentials_are_taken_out(parts: list[str]) -> None:
    """In any spelling that the parser reads as `token` or `ticket`; all else stays as it is."""
    query = "&".join(parts)
    kept = redact_query(query.encode()).decode()
    assert SECRET not in kept
    pairs = parse_qsl(query, keep_blank_values=True)
    assert parse_qsl(kept, keep_blank_values=True) == [pair for pair in pairs if pair[0] not in ("token", "ticket")]


@pytest.mark.parametrize("query", [b"", b"rooms=circle:7", b"a=%ff&b=%zz&&c", b"mytoken=1&tokens=2&Token=3"])
def test_other_query_parameters_stay(query: bytes) -> None:
    """To the byte."""
    assert redact_query(query) == query


@pytest.mark.parametrize(
    ("allowed", "origin", "host", "passes"),
    [
        ((), None, "gateway.test", True),
        ((), "http://gateway.test", "gateway.test", True),
        ((), "https://GATEWAY.test:443/", "gateway.test", True),
        ((), "http://gateway.test:8000", "gateway.test:8000", True),
        ((), "http://gateway.test:8001", "gateway.test:8000", False),
        ((), "http://gateway.test.evil.test", "gateway.test", False),
        ((), "http://gateway.test@evil.test", "gateway.test", False),
        ((), "null", "gateway.test", False),
        ((), "", "", False),
        ((), "file://", "", False),
        ((), "http://[::1]:8000", "[::1]:8000", True),
        ((), "http://gateway.test:x", "gateway.test:x", False),
        (("https://app.test",), "https://app.test", "gateway.test", True),
        (("https://app.test/",), "https://APP.test", "gateway.test", True),
        (("https://app.test",), "http://app.test", "gateway.test", False),
        (("https://app.test",), "https://sub.app.test", "gateway.test", False),
        (("https://app.test",), "http://gateway.test", "gateway.test", False),
        (("*",), "https://anyone.test", "gateway.test", True),
    ],
)
def test_origin_policy(allowed: tuple[str, ...], origin: str | None, host: str, passes: bool) -> None:
    """Pages of the own host, or of the origins that are named; who sends no origin is no browser."""
    headers = {b"host": [host.encode()]}
    if origin is not None:
        headers[b"origin"] = [origin.encode()]
    assert OriginPolicy(allowed).allows(headers) is passes


def test_two_origins_are_none() -> None:
    """A request that says two says nothing."""
    headers = {b"origin": [b"http://a.test", b"http://a.test"], b"host": [b"a.test"]}
    assert not OriginPolicy(("http://a.test",)).allows(headers)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["junk, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["junk"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("unknown", ["198.51.100.1"], "unknown"),
        ("unix:", ["198.51.100.1"], "unix:"),
    ],
)
def test_client_address(peer: str, forwarded: list[str], address: str) -> None:
    """The client's address as the trusted proxy saw it, and nothing to the left of it."""
    headers = {b"x-forwarded-for": [value.encode() for value in forwarded]}
    assert client_address(peer, headers, [ip_network("10.0.0.0/8")]) == address


def test_no_forwarded_address_is_trusted_without_proxies() -> None:
    """The header counts for nothing where no proxy is configured."""
    assert client_address("10.0.0.1", {b"x-forwarded-for": [b"1.2.3.4"]}, []) == "10.0.0.1"


def test_names_are_quoted_as_parsers_read_them() -> None:
    """The spelling with every character encoded is one that `parse_qsl` reads."""
    everything = "".join(f"%{ord(c):02x}" for c in "token")
    assert redact_query(f"{everything}={quote(SECRET)}&a=1".encode()) == b"a=1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("unix:", [], "unix:"),
        ("unix:", ["198.51.100.1"], "198.51.100.1"),
        ("unix:", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("unix:", ["198.51.100.1, unix:"], "198.51.100.1"),
        ("unix:", ["198.51.100.1, unix:, 10.0.0.1"], "198.51.100.1"),
        ("unix:", ["unix"], "unix:"),
        ("10.0.0.1", ["198.51.100.1, unix:"], "198.51.100.1"),
        ("192.0.2.1", ["198.51.100.1, unix:"], "192.0.2.1"),
        ("unknown", ["198.51.100.1"], "unknown"),
    ],
)
def test_a_proxy_on_a_unix_socket_has_no_address(peer: str, forwarded: list[str], address: str) -> None:
    """The proxy is trusted by the name `unix:`."""
    headers = {b"x-forwarded-for": [value.encode() for value in forwarded]}
    assert client_address(peer, headers, ["unix:", ip_network("10.0.0.0/8")]) == address
