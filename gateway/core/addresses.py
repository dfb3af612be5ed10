"""The client's address behind trusted proxies (`X-Forwarded-For`)."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from gateway.core.headers import Headers, list_values

UNIX_PEER: Final = "unix:"
"""The address of a peer on a Unix socket, in nginx's notation."""

Proxy = IPv4Network | IPv6Network | str
"""A trusted proxy: its network, or `UNIX_PEER`."""


def trusted_proxy(name: str) -> Proxy:
    """The trusted proxy that a setting names. Raises `ValueError`."""
    return name if name == UNIX_PEER else ip_network(name, strict=False)


def is_loopback(host: str) -> bool:
    """Whether a host is reachable from this machine only: a loopback address (IPv6 without brackets), or
    `localhost`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def client_address(peer: str, headers: Headers, proxies: Sequence[Proxy]) -> str:
    """The client's address: the peer's, or the one that trusted proxies report in `X-Forwarded-For`.

    Each proxy appends the address that it saw, so the list is read from its end, for as long as the hop is a trusted
    proxy; anything left of the first untrusted address can be forged by the client.
    """
    if not proxies or not _trusted(peer, proxies):
        return peer
    for hop in reversed(list_values(headers, b"x-forwarded-for")):
        try:
            address = hop if hop == UNIX_PEER else str(ip_address(_without_port(hop)))
        except ValueError:
            return peer
        peer = address
        if not _trusted(address, proxies):
            break
    return peer


def _trusted(address: str, proxies: Sequence[Proxy]) -> bool:
    if address == UNIX_PEER:
        return UNIX_PEER in proxies
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped  # as a socket for both families writes an IPv4 peer
    return any(ip in proxy for proxy in proxies if not isinstance(proxy, str))


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
