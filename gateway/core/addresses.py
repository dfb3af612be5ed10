"""The client's address behind trusted proxies (`X-Forwarded-For`)."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from gateway.core.headers import Headers, list_values

Network = IPv4Network | IPv6Network


def client_address(peer: str, headers: Headers, proxies: Sequence[Network]) -> str:
    """The address of the client: the peer's, or what trusted proxies say of it in `X-Forwarded-For`.

    Each proxy appends the address that it saw, so the list is read from its end, for as long as the speaker is a
    trusted proxy; what stands left of the first other address is the client's own invention.
    """
    if not proxies or not _within(peer, proxies):
        return peer
    for hop in reversed(list_values(headers, b"x-forwarded-for")):
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
