"""Entries, windows and connections, made in few words."""

from collections.abc import Iterable, Mapping, Sequence

from auth.grants import Grants
from auth.identity import Identity
from gateway.core.connection import Connection
from gateway.core.cursor import Cursors
from gateway.core.frame import Batch, Frame
from gateway.core.manager import ConnectionManager
from gateway.core.window import Bounds, Entry, Window

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


class Sheet:
    """A transport that writes down the offsets it is given; full when it is told to be. Without a socket, unless it is
    given a number for one."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.full = False
        self.fd: int | None = None
        self.pings = True

    def write(self, batch: Batch) -> bool:
        self.offsets += [int(frame.text) for frame in batch.frames]
        return not self.full

    def close(self, code: int, reason: str) -> None: ...

    def abort(self) -> None: ...


def nowhere(batch: Batch, direct: Mapping[int, Connection]) -> None:
    """Writes to descriptors, where nobody has one."""
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
) -> tuple[Connection, Sheet]:
    """A connection in `rooms`, each from an offset on."""
    sheet = Sheet()
    identity = Identity(user, tenant, Grants.parse(["tenant"]), frozenset({"subscribe"}), "jti", 0, 1 << 40)
    made = Connection(id, identity, sheet, 0.0, "10.0.0.1")
    manager.add(made)
    for room, after in (rooms or {}).items():
        manager.join(made, room, after)
    return made, sheet
