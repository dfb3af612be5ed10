"""The URLs of a gateway."""

import pytest

from gathering_client.address import Address


@pytest.mark.parametrize(
    ("url", "websocket", "http"),
    [
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/ws/dashboard", "http://127.0.0.1:8000"),
        (
            "https://gateway.example.com/",
            "wss://gateway.example.com:443/ws/dashboard",
            "https://gateway.example.com:443",
        ),
        ("wss://example.com/rt", "wss://example.com:443/rt/ws/dashboard", "https://example.com:443/rt"),
        ("wss://example.com/rt/ws/dashboard", "wss://example.com:443/rt/ws/dashboard", "https://example.com:443/rt"),
        ("ws://[::1]:1", "ws://[::1]:1/ws/dashboard", "http://[::1]:1"),
    ],
)
def test_one_url_gives_both(url: str, websocket: str, http: str) -> None:
    address = Address.of(url)
    assert (address.websocket, str(address)) == (websocket, http)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x", "http://", "http://x?token=y", "http://me:pw@x"])
def test_other_urls_are_refused(url: str) -> None:
    """With a query, such as one with a token, too."""
    with pytest.raises(ValueError, match="URL of a gateway"):
        Address.of(url)
