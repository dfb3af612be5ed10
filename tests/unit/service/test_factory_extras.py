"""The message for an extra that is not installed: a command that works wherever the gateway is from."""

import sys
import tomllib
from pathlib import Path

import pytest

from gateway.service.config import ConfigError
from gateway.service.factory import create_service
from tests.support.settings import ROOT, settings_for

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def assert_named(extra: str, message: str) -> None:
    (requirement,) = EXTRAS[extra]
    assert f"pip install '{requirement}'" in message


def test_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gateway.logs.redis", None)
    with pytest.raises(ConfigError) as error:
        create_service(settings_for(log_url="redis://127.0.0.1"))
    assert_named("redis", str(error.value))


def test_contract(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "schemas.contract.json_schema", None)
    with pytest.raises(ConfigError) as error:
        create_service(settings_for(contract=str(tmp_path)))
    assert_named("contract", str(error.value))
