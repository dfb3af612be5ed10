"""Fixtures of the fault tests: those of the tests with a real Redis."""

from tests.redis.conftest import prefix, server

__all__ = ["prefix", "server"]
