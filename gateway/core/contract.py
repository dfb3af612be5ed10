"""The event contract: events are checked against the schema of their type and version before they are appended."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from gateway.core.errors import GatewayError
from schemas.codes import ErrorCode
from schemas.contract.event_schema import EventSchema, Mismatch, digest_of
from schemas.events import Op

Mode = Literal["off", "warn", "enforce"]
"""Events are not checked; violations are counted; violations are refused as well."""

Unknown = Literal["allow", "refuse"]
"""Events of types that the contract has no schema for: allowed, or violations."""


class ContractViolation(GatewayError):
    """An event that the contract refuses: `version` is None for an unknown type, `mismatch` the part of its data."""

    def __init__(self, type: str, version: int | None, mismatch: Mismatch) -> None:
        place = f" at {mismatch.pointer}" if mismatch.pointer else ""
        named = type if version is None else f"{type} version {version}"
        super().__init__(
            ErrorCode.CONTRACT_VIOLATION, f"{named}{place}: expected {mismatch.expected}, got {mismatch.got}"
        )
        self.event_type = type
        self.version = version
        self.mismatch = mismatch

    @property
    def details(self) -> Mapping[str, Any]:
        found = self.mismatch
        version = {} if self.version is None else {"version": self.version}
        place = {"pointer": found.pointer, "expected": found.expected, "got": found.got}
        return {"event_type": self.event_type, **version, **place}


@dataclass(slots=True)
class Violations:
    """A number of violations of one type, and the first of them."""

    first: ContractViolation
    count: int = 0


class Contract:
    """The schemas of event types by version. `digest` is a hash of them all; `violations` counts since the start.

    A check is O(size of the event). Memory is O(schemas).
    """

    def __init__(self, schemas: Iterable[EventSchema], mode: Mode = "enforce", unknown: Unknown = "allow") -> None:
        self.mode = mode
        self.unknown = unknown
        self.violations = 0
        self._recent: dict[str, Violations] = {}
        types: dict[str, dict[int, EventSchema]] = {}
        for schema in sorted(schemas, key=lambda each: (each.type, each.version)):
            types.setdefault(schema.type, {})[schema.version] = schema
        self.types: Mapping[str, Mapping[int, EventSchema]] = MappingProxyType(types)
        self._newest = {type: max(versions) for type, versions in types.items()}
        self.digest = digest_of(self)

    def __iter__(self) -> Iterator[EventSchema]:
        """The schemas, by type and version."""
        for versions in self.types.values():
            yield from versions.values()

    def version_of(self, type: str, named: int | None) -> int | None:
        """The version of an event: the one `named` by its publisher, by default the newest; None for unknown types."""
        newest = self._newest.get(type)
        return newest if newest is None or named is None else named

    def check(self, type: str, version: int | None, op: Op | None, body: bytes) -> None:
        """Check the event in `body`, the JSON object that readers get. The data of a `delete` is free; that of an
        `append` may lack members. Raises `ContractViolation` where violations are refused."""
        if self.mode == "off":
            return
        if version is None:
            if self.unknown == "allow":
                return
            mismatch: Mismatch | None = Mismatch("", "a type of the contract", type)
        elif (schema := self.types[type].get(version)) is None:
            known = ", ".join(map(str, self.types[type]))
            mismatch = Mismatch("", f"one of the versions {known}", str(version))
        else:
            mismatch = None if op == "delete" else schema.check(body, op == "append")
        if mismatch is not None:
            self._violated(ContractViolation(type, version, mismatch))

    def _violated(self, violation: ContractViolation) -> None:
        self.violations += 1
        # Unknown types share an entry, since their number has no bound.
        key = "" if violation.version is None else violation.event_type
        self._recent.setdefault(key, Violations(violation)).count += 1
        if self.mode == "enforce":
            raise violation

    def take_recent(self) -> Iterable[Violations]:
        """The violations since the last call, by type."""
        recent, self._recent = self._recent, {}
        return recent.values()
