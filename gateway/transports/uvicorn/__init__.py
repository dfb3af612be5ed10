"""The uvicorn transport: `--ws gateway.transports.uvicorn:SocketTransport`, together with
`--http gateway.transports.uvicorn:HttpProtocol`."""

try:
    import httptools  # noqa: F401  # in the extra `fast`
except ImportError:
    from gateway.transports.uvicorn.http_h11 import GuardedH11 as HttpProtocol
else:
    from gateway.transports.uvicorn.fast_path import FirstRequest as HttpProtocol  # type: ignore[assignment]
from gateway.transports.uvicorn.upgrade import Upgrade as SocketTransport

__all__ = ["HttpProtocol", "SocketTransport"]
