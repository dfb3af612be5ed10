"""Types of settings: their syntax and error messages, which follow the name of the setting."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from auth.identity import SCOPES
from gateway.core.addresses import trusted_proxy
from gateway.core.origin import origin_fault
from schemas.rooms import ID_GRAMMAR, RoomKinds, is_id

_is_path: Final = re.compile(r"/[A-Za-z0-9._~/-]*").fullmatch


def _host(value: str) -> str:
    if not value:  # a socket would bind to every interface
        raise ValueError("is empty; write 0.0.0.0 to listen on every interface")
    return value


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    for origin in value:
        if fault := origin_fault(origin):
            raise ValueError(f"{fault}; write each as a browser sends it, such as https://app.example.com")
    return value


def _paths(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("names no path; name one at least, such as /ws/dashboard")
    if wrong := next((path for path in value if not _is_path(path)), None):
        raise ValueError(f"{wrong[:80]!a}: a path begins with / and has letters, digits and ._~- in its parts")
    if len(set(value)) < len(value):
        raise ValueError("names a path twice")
    return value


def _kinds(value: tuple[str, ...]) -> tuple[str, ...]:
    return RoomKinds(value).names


def _scopes(value: str) -> str:
    if not set(value.split()) <= set(SCOPES):
        raise ValueError(f"the scopes are {', '.join(SCOPES)}")
    return value


def _tenants(value: tuple[str, ...]) -> tuple[str, ...]:
    if not all(is_id(tenant.rpartition("=")[2]) for tenant in value):
        raise ValueError(f"a tenant is {ID_GRAMMAR}")
    return value


def _proxies(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        trusted_proxy(name)
    return value


Count = Annotated[int, Field(ge=0)]
Host = Annotated[str, AfterValidator(_host)]
Scopes = Annotated[str, AfterValidator(_scopes)]

CommaList = tuple[str, ...]
Origins = Annotated[CommaList, AfterValidator(_origins)]
Paths = Annotated[CommaList, AfterValidator(_paths)]
Kinds = Annotated[CommaList, AfterValidator(_kinds)]
Tenants = Annotated[CommaList, AfterValidator(_tenants)]
Proxies = Annotated[CommaList, AfterValidator(_proxies)]
