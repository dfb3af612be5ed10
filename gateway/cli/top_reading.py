"""The readings of `gateway top`: answers of the administrators' API, with rates between two of them."""

import time
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, Final

from gateway.cli.admin_api import AdminApi
from schemas.events import rfc3339

MAX_ROWS: Final = 20
"""Tenants, rooms and connections of a reading, at most."""

_PAGE: Final = 1_000
_NO_RATES: Final[Mapping[str, float]] = {}
_UNSHOWN: Final = frozenset(("loop_lag", "refusals", "closes", "gaps", "tenants"))
"""Fields of a node's status in whose place other ones are shown."""

_COUNTED: Final = ("events", "deliveries")
"""Counters of a tenant."""

_Earlier = tuple[float, dict[str, Any]]
"""The time at which a node's status was read, and the status."""


class TopReader:
    """Reads what is going on. With the scope `platform` that is each node's numbers, the busiest tenants of all nodes,
    and of one tenant the rooms, and the slow consumers on the node that answers: that of `--tenant`, else the busiest.
    With `admin` it is the state of the nodes and the token's own tenant.

    `timer` is seconds of a monotonic clock.
    """

    def __init__(self, api: AdminApi, tenant: str | None, timer: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._tenant = tenant
        self._timer = timer
        self._nodes: dict[str, _Earlier] = {}

    def read(self) -> dict[str, Any]:
        """A reading, as `--json` prints it; rates are absent in the first one. Raises `ClientError`."""
        answer = self._api.get("/admin/nodes")
        now = self._timer()
        before, self._nodes = self._nodes, {node["node"]: (now, node) for node in answer["nodes"]}
        nodes = [_node(node, now, before.get(node["node"])) for node in answer["nodes"]]
        tenants = _tenants(answer["nodes"], now, before)
        chosen = self._tenant or next((each["tenant"] for each in tenants if each["tenant"] != "other"), None)
        return {
            "at": rfc3339(time.time()),
            "nodes": nodes,
            "silent": answer["silent"],
            "tenants": tenants[:MAX_ROWS],
            "shown": self._shown(chosen),
        }

    def _shown(self, tenant: str | None) -> dict[str, Any]:
        """The rooms with most connections, and this node's connections that are behind, of one tenant."""
        stats = self._api.get("/admin/stats", limit=1, tenant=tenant)
        rooms = self._api.get("/admin/rooms", limit=_PAGE, tenant=tenant)
        connections = self._api.get("/admin/connections", limit=_PAGE, tenant=tenant)
        behind = [each for each in connections["connections"] if each["state"] == "behind"]
        busiest = sorted(rooms["rooms"], key=lambda room: (-room["connections"], room["room"]))
        return {
            "tenant": stats["tenant"],
            "connections": stats["active_connections"],
            "users": stats["active_users"],
            "rooms": busiest[:MAX_ROWS],
            "behind": len(behind),
            "slow": [{name: each[name] for name in ("connection_id", "user_id", "node")} for each in behind[:MAX_ROWS]],
            "more": rooms["next"] is not None or connections["next"] is not None,
        }


def rates(before: Mapping[str, float], now: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Increases of counters a second, between two readings."""
    if seconds <= 0:
        return {}
    return {name: max(0.0, round((count - before.get(name, 0)) / seconds, 2)) for name, count in now.items()}


def percentile(before: Mapping[str, int], now: Mapping[str, int], share: float) -> float | None:
    """The upper end of the bucket, in seconds, that holds the percentile of the samples between two readings of a
    histogram: infinite for the last one, None without samples."""
    counts = sorted((float(end), count - before.get(end, 0)) for end, count in now.items())
    wanted, seen = sum(count for _, count in counts) * share, 0
    for end, count in counts:
        seen += count
        if count and seen >= wanted:
            return end
    return None


def _tenants(nodes: Iterable[Mapping[str, Any]], now: float, earlier: Mapping[str, _Earlier]) -> list[dict[str, Any]]:
    """The busiest tenants first, as sums over the nodes: by their rates, in the first reading by their counts. A node
    adds to the rate of a tenant where it had it in both readings."""
    found: dict[str, dict[str, Any]] = {}
    for node in nodes:
        then, before = earlier.get(node["node"], (now, {}))
        known = before.get("tenants", {}) if before.get("started_at") == node["started_at"] else {}
        for tenant, counted in node.get("tenants", {}).items():
            each = found.setdefault(tenant, {"tenant": tenant, **dict.fromkeys(_COUNTED, 0), "connections": 0})
            work = {name: counted[name] for name in _COUNTED}
            for name, count in work.items():
                each[name] += count
            each["connections"] += counted.get("connections") or 0
            each["waiting"] = max(each.get("waiting", 0.0), counted.get("waiting") or 0.0)
            if tenant in known:
                summed = each.setdefault("per_second", {})
                for name, rate in rates(known[tenant], work, now - then).items():
                    summed[name] = round(summed.get(name, 0.0) + rate, 2)
    return sorted(found.values(), key=_work, reverse=True)


def _node(node: Mapping[str, Any], now: float, earlier: _Earlier | None) -> dict[str, Any]:
    """A node as it is shown. Its rates are absent where it was started between the readings."""
    shown = {name: value for name, value in node.items() if name not in _UNSHOWN}
    if earlier is None or earlier[1]["started_at"] != node["started_at"] or "connections" not in node:
        return shown
    then, before = earlier
    seconds = now - then
    counted = ("deliveries", "delivered_bytes", "events", "cpu_seconds")
    shown["per_second"] = rates(before, {name: node[name] for name in counted if name in node}, seconds)
    for reasons in ("refusals", "closes", "gaps"):
        found = rates(before.get(reasons) or _NO_RATES, node.get(reasons) or {}, seconds)
        shown[f"{reasons}_per_second"] = {reason: rate for reason, rate in found.items() if rate}
    lag = percentile(before.get("loop_lag") or {}, node.get("loop_lag") or {}, 0.99)
    shown["loop_lag_p99"] = None if lag is None else (lag if lag < inf else "more")
    return shown


def _work(tenant: Mapping[str, Any]) -> tuple[float, float]:
    return sum(tenant.get("per_second", _NO_RATES).values()), tenant.get("events", 0) + tenant.get("deliveries", 0)
