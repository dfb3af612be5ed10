"""Address of a gateway: the URLs of its WebSocket and its HTTP API, from one URL."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

WEBSOCKET_PATH: Final = "/ws/dashboard"
_SECURE: Final = {"http": False, "ws": False, "https": True, "wss": True}


@dataclass(frozen=True, slots=True)
class Address:
    """A gateway's address. `path` is the prefix under which it is served, without a trailing slash; often empty."""

    host: str
    port: int
    path: str
    secure: bool
    websocket_path: str = WEBSOCKET_PATH

    @classmethod
    def of(cls, url: str, websocket_path: str = WEBSOCKET_PATH) -> "Address":
        """The address in a URL, also that of the WebSocket, as JavaScript clients have it. Raises `ValueError`."""
        parts = urlsplit(url)
        secure = _SECURE.get(parts.scheme)
        if secure is None or not parts.hostname:
            raise ValueError("the URL of a gateway starts with http://, https://, ws:// or wss://, and names a host")
        if parts.query or parts.fragment or parts.username is not None:
            raise ValueError("the URL of a gateway has no query and no user: pass the token as `token`")
        path = parts.path.rstrip("/").removesuffix(websocket_path)
        return cls(parts.hostname, parts.port or (443 if secure else 80), path, secure, websocket_path)

    @property
    def websocket(self) -> str:
        return f"{'wss' if self.secure else 'ws'}://{self._authority}{self.path}{self.websocket_path}"

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self._authority}{self.path}"

    @property
    def _authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
