"""Rate limits of HTTP routes by slowapi: decorators only, since its middleware and default limits silently ignore the
routes of an included router."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final, TypeVar

from fastapi import Request
from slowapi import Limiter

from gateway.api.client import identity_of

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


_NO_FILE: Final = str(files("gateway") / "py.typed")
"""An empty configuration file, or slowapi would read our `.env`."""


class _Limiter(Limiter):
    """slowapi's limiter without its settings from `RATELIMIT_…` variables."""

    def get_app_config(self, key: str, default_value: Any = None) -> Any:
        return default_value


class RouteLimiter:
    """Rate limits by principal, in this process's memory: slowapi's Redis storage would block the event loop."""

    def __init__(self) -> None:
        self._limiter = _Limiter(key_func=_principal_key, key_style="endpoint", config_filename=_NO_FILE)
        self.endpoints: list[str] = []

    def __call__(self, per_minute: int) -> Callable[[Endpoint], Endpoint]:
        """A decorator for endpoints with a parameter `request`; 0 is no limit."""

        def decorate(endpoint: Endpoint) -> Endpoint:
            if not per_minute:
                return endpoint
            self.endpoints.append(endpoint.__name__)
            limited: Endpoint = self._limiter.limit(f"{per_minute}/minute")(endpoint)
            return limited

        return decorate

    async def attach(self, request: Request) -> None:
        """A dependency of the limited routes: passes the limiter to the handler of a refusal, for its `retry_after`."""
        request.state.limiter = self._limiter


def _principal_key(request: Request) -> str:
    identity = identity_of(request.scope)
    # Limited routes authenticate first; neither grammar has `:`, so that keys of principals are unique.
    return "" if identity is None else f"{identity.tenant}:{identity.user_id}"
