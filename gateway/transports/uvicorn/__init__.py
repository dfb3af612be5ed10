"""The transport under uvicorn: `--ws gateway.transports.uvicorn:SocketTransport`, and with httptools also
`--http gateway.transports.uvicorn:HttpProtocol`."""

from gateway.transports.uvicorn.fast_path import HttpProtocol
from gateway.transports.uvicorn.protocol import SocketTransport

__all__ = ["HttpProtocol", "SocketTransport"]
