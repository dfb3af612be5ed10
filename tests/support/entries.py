"""Entries, windows and connections, made in few words."""

from collections.abc import Iterable, Mapping, Sequence

from auth.grants import Grants
from auth.identity import Identity
from gateway.core.connection import Connection
from gateway.core.cursor import Cursors
from gateway.core.frame import Batch, Frame
from gateway.core.manager import ConnectionManager
from gateway.core.window import Bounds, Entry, Window
from tests.support.transports import FakeTransport

EPOCH = b"\x05" * 7


def entry(offset: int, *rooms: str, size: int = 0, at: float = 0.0) -> Entry:
    """The event at `offset`, whose payload is its offset in digits, filled up to `size`."""
    return Entry(offset, f"evt_{offset}", (*rooms, "tenant"), Frame(str(offset).ljust(size).encode()), at)


def window(rooms: Iterable[Sequence[str]] = (), bounds: Bounds | None = None) -> Window:
    """A window with one entry for each item of `rooms`."""
    made = Window(EPOCH, Cursors((b"k" * 32,), "acme"), bounds or Bounds())
    for offset, names in enumerate(rooms, 1):
        made.append(entry(offset, *names))
    return made


def nowhere(batch: Batch, direct: Mapping[int, Connection]) -> None:
    """Direct writes, where no connection has a descriptor."""
    assert not direct


def unbroken(connection: Connection, error: Exception) -> None:
    raise AssertionError(f"{connection.id} has failed") from error


def connection(
    manager: ConnectionManager,
    rooms: dict[str, int] | None = None,
    *,
    tenant: str = "acme",
    user: str = "ada",
    id: str = "1",
) -> tuple[Connection, FakeTransport]:
    """A connection in `rooms`, each from an offset on."""
    transport = FakeTransport()
    identity = Identity(user, tenant, Grants.parse(["tenant"]), frozenset({"subscribe"}), "jti", 0, 1 << 40)
    made = Connection(id, identity, transport, 0.0, "10.0.0.1")
    manager.add(made)
    for room, after in (rooms or {}).items():
        manager.join(made, room, after)
    return made, transport
