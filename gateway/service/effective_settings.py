"""The settings in force, without secrets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from gateway.service.config import Settings
from gateway.service.environment import PREFIX

Value = str | int | float | bool | None | list[str]

_HIDDEN: Final = "***"


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """A setting with its value and its default; both are None for a secret. `changed` where they differ."""

    name: str
    description: str
    secret: bool
    set: bool
    value: Value
    default: Value
    changed: bool


def effective_settings(settings: Settings) -> Iterator[EffectiveSetting]:
    """All settings, in the order of `.env.example`."""
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        secret = "SecretStr" in str(field.annotation) or isinstance(value, SecretStr)
        yield EffectiveSetting(
            name=f"{PREFIX}{name.upper()}",
            description=field.description or "",
            secret=secret,
            set=value not in (None, (), ""),
            value=None if secret else _shown(value),
            default=None if secret else _shown(field.default),
            changed=value != field.default,
        )


def _shown(value: Any) -> Value:
    if isinstance(value, str):
        return without_credentials(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Sequence):
        return [without_credentials(str(part)) for part in value]
    return str(value)


def without_credentials(text: str) -> str:
    """The text, or the address without user, password and query, which may hold one too."""
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return _HIDDEN
    name = f"[{host}]" if ":" in host else host
    user = f"{_HIDDEN}@" if "@" in parts.netloc else ""
    query = f"?{_HIDDEN}" if parts.query or parts.fragment else ""
    return f"{parts.scheme}://{user}{name}{'' if port is None else f':{port}'}{parts.path}{query}"
