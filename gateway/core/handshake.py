"""What a client says when it connects: credentials, label, rooms; and where it says it comes from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from auth.errors import AuthError, TokenInvalid, TokenMissing
from gateway.core.errors import GatewayError
from schemas.codes import ErrorCode

SUBPROTOCOL: Final = "gateway.v1"
_BEARER_SUBPROTOCOL: Final = "gateway.bearer."
_SECRET_PARAMETERS: Final = ("token", "ticket")

MAX_CLIENT_ID: Final = 64

Headers = Mapping[bytes, Sequence[bytes]]
"""The values of each header, in order, by its name in lower case."""

Query = list[tuple[str, str]]
Network = IPv4Network | IPv6Network


class Secrets(tuple[str, ...]):
    """Texts that show in no representation, log or traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"

    __str__ = __repr__


NO_SECRETS: Final = Secrets()


@dataclass(frozen=True, slots=True)
class Handshake:
    """One attempt to connect. `tokens` are all that came, in order of precedence; never in the `repr`.

    One with `tickets` has to wait until they are turned into a token (`Host.redeem`): its address has then been
    `admitted`, and `failure` is what went wrong.
    """

    tokens: Secrets
    client_id: str | None
    rooms: tuple[str, ...]
    since: str | None
    subprotocol: str | None
    address: str
    tickets: Secrets = NO_SECRETS
    admitted: bool = False
    failure: AuthError | GatewayError | None = None

    def token(self) -> str:
        """The one token. Raises `TokenMissing`, `TokenInvalid` for two that disagree, and the `failure`."""
        if self.failure is not None:
            raise self.failure
        return one_token(self.tokens)

    def label(self) -> str | None:
        """The client's name for itself. Raises `GatewayError` for one that is too long or cannot be shown."""
        label = self.client_id
        if label is not None and not (len(label) <= MAX_CLIENT_ID and label.isprintable()):
            raise GatewayError(ErrorCode.BAD_MESSAGE, f"client_id has at most {MAX_CLIENT_ID} printable characters")
        return label or None


def by_name(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers as servers pass them on, their names in lower case already."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    return values


def one_token(tokens: Sequence[str]) -> str:
    """The token to believe among those that came. Raises `TokenMissing`, and `TokenInvalid` for two that disagree."""
    if not tokens or not any(tokens):
        raise TokenMissing
    if any(token != tokens[0] for token in tokens[1:]):
        raise TokenInvalid("disagreeing")
    return tokens[0]


def bearer_tokens(query: Query, headers: Headers) -> Secrets:
    """Every token in the places where a client may put one (PROTOCOL section 2), the first place first."""
    tokens: list[str] = []
    for value in headers.get(b"authorization", ()):
        scheme, _, credentials = value.decode("latin-1").partition(" ")
        if scheme.lower() == "bearer":
            tokens.append(credentials.strip())
    offered = _listed(headers, b"sec-websocket-protocol")
    tokens += [word[len(_BEARER_SUBPROTOCOL) :] for word in offered if word.startswith(_BEARER_SUBPROTOCOL)]
    tokens += [value for name, value in query if name == "token"]
    return Secrets(tokens)


def tickets_of(query: Query) -> Secrets:
    """The tickets in a query. One that is empty is none."""
    return Secrets([value for name, value in query if name == "ticket" and value])


def read_handshake(
    query: Query, headers: Headers, tokens: Secrets, address: str, tickets: Secrets = NO_SECRETS
) -> Handshake:
    """The attempt in a request for `/ws/dashboard`. Nothing is judged here, so nothing is raised."""
    first = dict(reversed(query))
    rooms = [room for name, value in query if name == "rooms" for room in value.split(",") if room]
    return Handshake(
        tokens=tokens,
        client_id=first.get("client_id"),
        rooms=tuple(dict.fromkeys(rooms)),
        since=first.get("since"),
        subprotocol=SUBPROTOCOL if SUBPROTOCOL in _listed(headers, b"sec-websocket-protocol") else None,
        address=address,
        tickets=tickets,
    )


def _listed(headers: Headers, name: bytes) -> list[str]:
    """The words of a header whose value is a list."""
    return [word.strip() for value in headers.get(name, ()) for word in value.decode("latin-1").split(",")]


def parse_query(query_string: bytes) -> Query:
    """The parameters of a query string, in order; bytes that are no UTF-8 become U+FFFD, which no grammar takes."""
    text = query_string.decode("latin-1")
    if "%" in text or "+" in text:
        return parse_qsl(text, keep_blank_values=True, errors="replace")
    # The same for a query without an encoded character, at a fifth of the cost: this is on the way of every connection.
    return [(name, value) for name, _, value in (part.partition("=") for part in text.split("&") if part)]


def without_secrets(query_string: bytes) -> bytes:
    """The query string with the credentials taken out, fit for logs."""
    if not any(name.encode() in query_string for name in _SECRET_PARAMETERS) and b"%" not in query_string:
        return query_string
    kept = []
    for part in query_string.split(b"&"):
        # As `parse_qsl` reads the name, or a spelling such as `%74oken` would pass.
        name = parse_query(part.partition(b"=")[0])
        if not (name and name[0][0] in _SECRET_PARAMETERS):
            kept.append(part)
    return b"&".join(kept)


class OriginPolicy:
    """Which web pages may connect: `allowed` ones, or, where that is empty, those of the gateway's own origin.

    A client that sends no `Origin` is not a browser, and passes. This is what stands between a page of somebody else
    and a user's browser (RFC 6455 section 10.2); tokens are what stands between clients and rooms.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(_normal(origin) for origin in allowed)

    def allows(self, headers: Headers) -> bool:
        origins = headers.get(b"origin")
        if not origins:
            return True
        if len(origins) > 1:
            return False
        origin = _normal(origins[0].decode("latin-1"))
        if self._allowed:
            return origin in self._allowed or "*" in self._allowed
        hosts = [value.decode("latin-1").lower() for value in headers.get(b"host", ())]
        # The scheme is left out: behind a proxy that ends TLS it is not known here, and the host is what counts.
        if len(hosts) != 1 or origin.partition("://")[0] not in ("http", "https"):
            return False
        host = _host(origin)
        return host is not None and host == _host(hosts[0])


def _normal(origin: str) -> str:
    return origin.strip().rstrip("/").lower()


def _host(text: str) -> str | None:
    """`host:port` without the port that its scheme implies; None for what has user information or a path in it."""
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        port = parts.port
    except ValueError:
        return None
    if parts.username is not None or parts.password is not None or parts.path or parts.query or parts.fragment:
        return None
    host = parts.hostname
    return host if host is None or port is None or port in (80, 443) else f"{host}:{port}"


def client_address(peer: str, headers: Headers, proxies: Sequence[Network]) -> str:
    """The address of the client: the peer's, or what trusted proxies say of it in `X-Forwarded-For`.

    Each proxy appends the address that it saw, so the list is read from its end, for as long as the speaker is a
    trusted proxy; what stands left of the first other address is the client's own invention.
    """
    if not proxies or not _within(peer, proxies):
        return peer
    for hop in reversed(_listed(headers, b"x-forwarded-for")):
        try:
            address = str(ip_address(_without_port(hop)))
        except ValueError:
            return peer
        peer = address
        if not _within(address, proxies):
            break
    return peer


def _within(address: str, networks: Sequence[Network]) -> bool:
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped  # as a socket for both families writes an IPv4 peer
    return any(ip in network for network in networks)


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
