"""Limits of single tenants in a setting: JSON, or a file."""

from pathlib import Path
from typing import Any

import pytest

from gateway.core.tenant_quotas import TenantQuota
from gateway.core.window import Bounds
from gateway.logs.memory import MemoryLog
from gateway.service.config import ConfigError, load_settings
from gateway.service.effective_settings import effective_settings
from gateway.service.factory import create_service
from gateway.testing import draft
from gateway.testing.log_items_contract import keyed_draft
from tests.support.settings import settings_for

JSON = '{"acme": {"weight": 2, "max_connections": 500, "log_max_bytes": 1000}, "bolt": {"publish_per_second": 0}}'
TOML = """
[acme]
weight = 2
max_connections = 500
log_max_bytes = 1000

[bolt]
publish_per_second = 0
"""


@pytest.fixture(autouse=True)
def _files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("limits.json", JSON), ("limits.toml", TOML), ("marked.json", f"\ufeff{JSON}")):
        Path(name).write_text(text, encoding="utf-8")
    Path("latin.json").write_bytes(b'{"acm\xe9": {}}')


@pytest.mark.parametrize("value", [JSON, f" {JSON}", "limits.json", "limits.toml", "marked.json"])
def test_limits_are_json_or_a_file(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that are left out are those of all tenants; console and API show what is in force."""
    monkeypatch.setenv("GATEWAY_TENANT_LIMITS", value)
    settings = load_settings(**settings_for().model_dump(exclude_unset=True), tenant_publish_per_second=9)
    gateway = create_service(settings).gateway
    quotas = gateway.limits.tenants
    assert quotas.of("acme") == TenantQuota(500, 9, 2.0)
    assert quotas.of("bolt") == TenantQuota(10_000, 0, 1.0)
    assert quotas.of("other") == TenantQuota(10_000, 9, 1.0)
    assert isinstance(gateway.log, MemoryLog)
    assert gateway.log.window("acme").bounds == Bounds(max_bytes=1_000)
    assert gateway.log.window("bolt").bounds == gateway.log.window("other").bounds == Bounds()
    (shown,) = [each for each in effective_settings(settings) if each.name == "GATEWAY_TENANT_LIMITS"]
    assert (shown.set, shown.changed, shown.default) == (True, True, None)
    assert shown.value == (
        '{"acme":{"weight":2.0,"max_connections":500,"log_max_bytes":1000},"bolt":{"publish_per_second":0}}'
    )


async def test_limits_in_code_are_an_object() -> None:
    limits: Any = {"acme": {"state_max_items": 2, "log_max_events": 3}, "bolt": {"log_max_bytes": 1_000}}
    log = create_service(settings_for(tenant_limits=limits)).gateway.log
    for tenant in ("acme", "bolt", "other"):
        for number in range(8):
            await log.append(tenant, keyed_draft(f"k{number}", "set"))
        for number in range(8):
            await log.append(tenant, draft(number))
    windows = [log.window(tenant) for tenant in ("acme", "bolt", "other")]
    assert [len(window.items) for window in windows] == [2, 8, 8]
    assert [len(windows[0]), len(windows[2])] == [3, 16]
    assert windows[1].bytes <= 1_000


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('{"acme": {"wieght": 2}}', "acme.wieght: unknown limit; the limits are weight, publish_per_second,"),
        ('{"acme": {"max_connections": -1}}', "acme.max_connections: must be greater than or equal to 0"),
        ('{"acme": {"weight": 0}}', "acme.weight: must be greater than or equal to 0.1"),
        ('{"acme": {"weight": NaN}}', "acme.weight: "),
        ('{"acme": {"log_max_bytes": "16 MB"}}', "acme.log_max_bytes: must be an integer"),
        ('{"acme": {"max_connections": true}}', "acme.max_connections: must be an integer"),
        ('{"acme": 5}', "acme: is not a JSON object of limits; write for example {"),
        ('{"a b": {}}', "'a b': is not a tenant id, which has "),
        ('{"acme": {}, "acme": {}}', "'acme': is there twice; remove one"),
        ('{"acme": {}', "is not JSON: "),
        ("[1]", "cannot read [1]: No such file or directory; name a file, or write {"),
        ("missing.json", "cannot read missing.json: No such file or directory; "),
        ("latin.json", "latin.json: is not UTF-8 text; save it as UTF-8"),
    ],
)
def test_a_wrong_limit_is_one_line_that_names_the_tenant(
    value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_TENANT_LIMITS", value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"GATEWAY_TENANT_LIMITS: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "text"), [("bad.json", "[]"), ("bad.toml", "acme = "), ("list.json", "5")])
def test_a_file_that_is_none_is_named(name: str, text: str) -> None:
    Path(name).write_text(text)
    with pytest.raises(
        ConfigError, match=r"^GATEWAY_TENANT_LIMITS: (bad.toml: is not TOML|is not a JSON object of limits)"
    ):
        load_settings(tenant_limits=name)
