"""Settings of the gateways under test, in this process and in one of their own."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from gateway.service.config import Settings

ROOT: Final = Path(__file__).resolve().parents[2]

SECRET: Final = "a-secret-of-tests-0123456789-abcdefghijklmnopqrstuvwxyz"

NO_LIMITS: Final[Mapping[str, Any]] = {
    "handshakes_per_minute": 0,
    "max_connections_per_address": 0,
    "max_connections_per_user": 0,
    "tokens_per_minute": 0,
    "admin_requests_per_minute": 0,
    "shutdown_delay_seconds": 0,
    "mark_interval": 0,
}
"""Limits, delays and marks out of the way, for tests that are about something else."""


def settings_for(**values: Any) -> Settings:
    """Settings from `values` alone: no environment, no `.env`."""
    return Settings(_env_file=None, jwt_secret=SecretStr(SECRET), port=0, **{**NO_LIMITS, **values})


def variables(**settings: Any) -> dict[str, str]:
    """Settings as a process of its own gets them, without those that are None."""
    return {f"GATEWAY_{name.upper()}": str(value) for name, value in settings.items() if value is not None}


def environment(more: Mapping[str, str] | None = None, **settings: Any) -> dict[str, str]:
    """The environment of a process under test: of the caller's only the path, with the `gateway` command on it; then
    `settings`, and `more`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": "/nonexistent", **variables(**settings), **(more or {})}
