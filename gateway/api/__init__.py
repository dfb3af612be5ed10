"""The HTTP side: a router to include in an application, and a complete application."""

from gateway.api.app import create_app
from gateway.api.router import create_router
from gateway.service.factory import Service, create_service

__all__ = ["Service", "create_app", "create_router", "create_service"]
