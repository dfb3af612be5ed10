"""The gathering gateway: one tenant, one log; one client, one cursor.

This package works without FastAPI, uvicorn, slowapi and Redis; the HTTP side is `gateway.api`.
"""

from gateway.core.client_request import ClientRequest
from gateway.core.version import VERSION
from gateway.embedding.bridge import EventBridge, setup_custom_broadcasting, setup_websocket_broadcasting
from gateway.embedding.broadcast_manager import BroadcastManager as ConnectionManager
from gateway.embedding.broadcast_manager import get_connection_manager
from gateway.embedding.event_bus import DEFAULT_BROADCAST_EVENTS, Event, EventBus, event_bus
from gateway.engine.gateway import Gateway
from gateway.engine.lifecycle import NotRunning, WrongEventLoop
from gateway.engine.session_identity import SessionIdentity
from gateway.service.config import ConfigError, Settings
from gateway.service.factory import Service, create_service
from schemas.events import EventType

__version__ = VERSION

__all__ = [
    "DEFAULT_BROADCAST_EVENTS",
    "ClientRequest",
    "ConfigError",
    "ConnectionManager",
    "Event",
    "EventBridge",
    "EventBus",
    "EventType",
    "Gateway",
    "NotRunning",
    "Service",
    "SessionIdentity",
    "Settings",
    "WrongEventLoop",
    "__version__",
    "create_service",
    "event_bus",
    "get_connection_manager",
    "setup_custom_broadcasting",
    "setup_websocket_broadcasting",
]
