"""Addresses in the configuration have no credentials."""

import pytest

from gateway.service.effective_settings import without_credentials


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("memory://", "memory://"),
        ("redis://user:pass@redis.example:6379/0", "redis://***@redis.example:6379/0"),
        ("redis://:pass@[::1]:6379", "redis://***@[::1]:6379"),
        ("rediss://redis.example?password=pass", "rediss://redis.example?***"),
        ("unix://pass@/run/redis.sock#pass", "unix://***@/run/redis.sock?***"),
        ("redis://user:pass@redis.example:port", "***"),
        ("info", "info"),
    ],
)
def test_credentials_are_removed(text: str, shown: str) -> None:
    assert without_credentials(text) == shown
