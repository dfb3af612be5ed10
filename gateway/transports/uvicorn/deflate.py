"""Negotiation of permessage-deflate with parameters that let one compressed frame fit every connection."""

from typing import Final

from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension

from gateway.core.frame import WINDOW_BITS
from gateway.core.headers import Headers

# No context takeover, so that compression needs no state per connection.
_factory: Final = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)


def negotiate(headers: Headers) -> tuple[PerMessageDeflate, bytes] | None:
    """The extension agreed with a client that offers it (RFC 7692), and the value of the response header."""
    for value in headers.get(b"sec-websocket-extensions", ()):
        try:
            for extension, parameters in parse_extension(value.decode("latin-1")):
                if extension == _factory.name:
                    agreed, deflate = _factory.process_request_params(parameters, [])
                    return deflate, build_extension([(_factory.name, agreed)]).encode()
        except (InvalidHeader, NegotiationError):
            continue
    return None


def supports_prepared_frames(extension: PerMessageDeflate) -> bool:
    """Whether the client's window is large enough for prepared frames; else uncompressed ones are sent, which is
    legal."""
    return extension.local_max_window_bits >= WINDOW_BITS
