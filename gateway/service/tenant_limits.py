"""Overrides of limits for individual tenants: the setting, as JSON or the path of a file, and its error messages."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, ValidationError

from gateway.core.tenant_quotas import TenantQuota
from gateway.core.window import Bounds
from gateway.service.setting_types import Count
from schemas.faults import describe
from schemas.rooms import ID_GRAMMAR, is_id

_EXAMPLE: Final = '{"acme": {"weight": 2, "max_connections": 500}}'


class TenantLimit(BaseModel):
    """The limits of one tenant; where one is None, the setting for all tenants counts."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    weight: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    publish_per_second: Count | None = None
    max_connections: Count | None = None
    log_max_events: Annotated[int, Field(ge=1)] | None = None
    log_max_bytes: Annotated[int, Field(ge=1)] | None = None
    state_max_items: Annotated[int, Field(ge=1)] | None = None
    state_max_bytes: Annotated[int, Field(ge=1)] | None = None

    def quota(self, default: TenantQuota) -> TenantQuota:
        """The tenant's quota; `default` is that of all tenants."""
        chosen = self._chosen(max_connections="max_connections", publish_per_second="publish_per_second")
        return replace(default, weight=self.weight, **chosen)

    def bounds(self, default: Bounds) -> Bounds:
        """The bounds of the tenant's log; `default` are those of all tenants."""
        chosen = self._chosen(
            log_max_events="max_events",
            log_max_bytes="max_bytes",
            state_max_items="max_items",
            state_max_bytes="max_item_bytes",
        )
        return replace(default, **chosen)

    def _chosen(self, **names: str) -> dict[str, Any]:
        """The values that are not None, by other names."""
        return {new: value for name, new in names.items() if (value := getattr(self, name)) is not None}


_MESSAGES: Final = {
    "extra_forbidden": f"unknown limit; the limits are {', '.join(TenantLimit.model_fields)}",
    "model_type": f"is not a JSON object of limits; write for example {_EXAMPLE}",
}


class TenantLimits(RootModel[dict[str, TenantLimit]]):
    """The overrides of limits, by tenant."""

    model_config = ConfigDict(frozen=True)

    def __str__(self) -> str:
        return self.model_dump_json(exclude_unset=True)


def _tenant_limits(value: Any) -> Any:
    """The limits in a setting. Raises `ValueError` with a message for its author."""
    if value is None or isinstance(value, TenantLimits):
        return value
    found = _read(value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise ValueError(f"is not a JSON object of limits by tenant; write for example {_EXAMPLE}")
    for tenant in found:
        if not is_id(tenant):
            raise ValueError(f"{str(tenant)[:80]!a}: is not a tenant id, which has {ID_GRAMMAR}")
    try:
        return TenantLimits.model_validate(found)
    except ValidationError as error:
        raise ValueError(_described(error.errors(include_input=False, include_url=False))) from None


def _described(faults: Sequence[Any]) -> str:
    return describe(faults, messages=_MESSAGES)


def _read(text: str) -> Any:
    """The object in `text`, which is JSON, or the path of a file with JSON or (`.toml`) TOML."""
    if text.lstrip().startswith("{"):
        return _parse(text, "", toml=False)
    try:
        content = Path(text).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{text}: is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise ValueError(f"cannot read {text}: {error.strerror}; name a file, or write {_EXAMPLE}") from None
    return _parse(content, f"{text}: ", toml=Path(text).suffix == ".toml")


def _parse(content: str, name: str, *, toml: bool) -> Any:
    try:
        return tomllib.loads(content) if toml else json.loads(content, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}is not JSON: {error}; write for example {_EXAMPLE}") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name}is not TOML: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name in found if sum(name == other for other, _ in pairs) > 1)
        raise ValueError(f"{twice[:80]!a}: is there twice; remove one")
    return found


LimitsByTenant = Annotated[TenantLimits | None, BeforeValidator(_tenant_limits)]
