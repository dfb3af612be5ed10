"""Bodies of the HTTP API for operators: audit trail, configuration, inspection of tokens."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class AuditedAct(BaseModel):
    """An act of an administrator. `by_jti` and `address` are null where the administrator is of another tenant than the
    caller, who is not of the scope `platform`. `target` is what it was about."""

    number: int
    at: str
    event: str
    by_user_id: str
    by_tenant: str
    by_jti: str | None
    address: str | None
    tenant: str
    target: dict[str, str | int]


class AuditPage(BaseModel):
    """The acts on this node, newest first; `next` is `before` of the next page, null on the last one."""

    node: str
    acts: list[AuditedAct]
    next: int | None


SettingValue = str | int | float | bool | None | list[str]


class SettingInfo(BaseModel):
    """A setting as it is in force. A secret has no value: `set` says whether there is one. Passwords are removed from
    addresses."""

    name: str
    description: str
    secret: bool
    set: bool
    value: SettingValue
    default: SettingValue
    changed: bool


class ConfigurationAnswer(BaseModel):
    """The settings of this node, and the warnings of `gateway check`."""

    node: str
    version: str
    settings: list[SettingInfo]
    warnings: list[str]


class TokenToInspect(BaseModel):
    """The body of `POST /admin/tokens/inspect`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    token: Annotated[str, Field(min_length=1, max_length=65_536)]


class TokenRightsInfo(BaseModel):
    """The rights of an accepted token, in words; times are RFC 3339."""

    user_id: str
    tenant: str
    scope: str
    rooms: tuple[str, ...]
    follows: str
    publishes: str
    revocable_by: str
    issued_at: str
    expires_at: str


class TokenInspectionAnswer(BaseModel):
    """The content of a token, and whether it is accepted now: `reason` and `explanation` are of the refusal. `header`
    and `claims` have each member as JSON text, and are null where they cannot be decoded; they are not verified unless
    the token is accepted."""

    accepted: bool
    reason: str | None
    explanation: str | None
    header: dict[str, str] | None
    claims: dict[str, str] | None
    rights: TokenRightsInfo | None
