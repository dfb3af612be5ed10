"""The credentials in a WebSocket's ASGI scope."""

from gateway.api.authentication import extract_tokens, headers_of


def test_subprotocols_are_read_where_the_server_tells_them() -> None:
    """uvicorn with wsproto takes the header out and tells its words beside the headers; most tell both."""
    offered = ["gateway.v1", "gateway.bearer.eyJ"]
    header = (b"sec-websocket-protocol", ", ".join(offered).encode())
    for headers in ([header], []):
        scope = {"query_string": b"", "headers": headers, "subprotocols": offered}
        assert list(extract_tokens(scope)) == ["eyJ"]
        assert b",".join(headers_of(scope)[b"sec-websocket-protocol"]).replace(b" ", b"") == ",".join(offered).encode()


def test_a_request_has_the_headers_that_it_came_with() -> None:
    """A request has no subprotocols."""
    assert headers_of({"headers": [(b"host", b"a"), (b"x", b"1"), (b"x", b"2")]}) == {
        b"host": [b"a"],
        b"x": [b"1", b"2"],
    }
