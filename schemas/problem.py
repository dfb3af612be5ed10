"""Problem documents (RFC 9457): the errors of HTTP."""

from typing import Any, Final, Self

from schemas.admin import ViolationDetails
from schemas.codes import ErrorCode

MEDIA_TYPE: Final = "application/problem+json"


class Problem(ViolationDetails):
    """A problem document (RFC 9457); `code` is one of `schemas.codes.ErrorCode`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    rooms: tuple[str, ...] | None = None
    retry_after: float | None = None
    limit: int | float | None = None

    @classmethod
    def of(cls, status: int, code: ErrorCode, detail: str, **members: Any) -> Self:
        """The document of an error; `members` are further ones."""
        title = code.replace("_", " ").capitalize()
        return cls(
            type=f"urn:gathering-gateway:problem:{code}",
            title=title,
            status=status,
            detail=detail,
            code=code,
            **members,
        )
