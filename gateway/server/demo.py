"""Demo traffic: two tenants whose agents start, take tasks, talk, fail and finish."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from gateway.service.factory import Service
from schemas.events import EventType, Op
from schemas.rooms import RoomKinds


@dataclass(frozen=True, slots=True)
class DemoTenant:
    """A demo tenant: its dashboard's user, and the ids of its rooms. `circles` are of the first kind of room,
    `projects` of the second; `foreign_circle` is of the other tenant."""

    tenant: str
    user_id: str
    agents: tuple[str, ...]
    circles: tuple[int, ...]
    projects: tuple[int, ...]
    work: tuple[str, ...]
    foreign_circle: int

    def rooms(self, kinds: RoomKinds) -> tuple[str, ...]:
        ids = zip(kinds.names, (self.circles, self.projects), strict=False)
        return tuple(f"{kind}:{n}" for kind, numbers in ids for n in numbers)


TENANTS: Final = (
    DemoTenant(
        "acme",
        "ada",
        ("Scout", "Mason", "Quill", "Harbor"),
        (1, 2),
        (5, 6),
        ("index the contracts", "draft the offer", "check the invoices", "compare suppliers", "summarise the call"),
        9,
    ),
    DemoTenant(
        "globex",
        "grace",
        ("Lumen", "Ferro", "Tide"),
        (9, 10),
        (30,),
        ("plan the route", "review the sensor logs", "price the freight", "answer the customer", "train the forecast"),
        1,
    ),
)

_TOOLS: Final = ("search", "calculator", "browser", "sql", "mail")
_WORDS: Final = (
    "I have the numbers, they look right.",
    "Who takes the next one?",
    "The source is three years old, I will look for a newer one.",
    "Done on my side.",
    "Please check the second page before we send it.",
)


_ANSWER: Final = (
    "I looked at three sources, and two of them agree. The third one counts a month that the others leave out, so its "
    "total is higher. Without that month all three are within one percent of each other. I would go with the second "
    "source: it is the newest, and it says where each figure is from."
)
_WORDS_AT_ONCE: Final = 2


@asynccontextmanager
async def demo_traffic(service: Service, pause: float = 0.35) -> AsyncIterator[None]:
    """A context in which events of both tenants are published, each tenant's about every `pause` seconds."""
    works = [work(service, tenant, pause) for tenant in TENANTS for work in (_work, _answer)]
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _work(service: Service, tenant: DemoTenant, pause: float) -> None:
    chance = random.Random(tenant.tenant)  # noqa: S311 - not a secret; reproducible
    for number in range(len(tenant.agents)):
        await _publish(service, tenant, number, EventType.AGENT_STARTED, {"name": tenant.agents[number]}, chance)
    open_tasks: list[tuple[int, int, str]] = []
    for task_id in count(chance.randrange(100, 200)):
        agent, title = chance.randrange(len(tenant.agents)), chance.choice(tenant.work)
        open_tasks.append((task_id, agent, title))
        task = {"task_id": task_id, "title": title, "agent": tenant.agents[agent]}
        await _publish(service, tenant, agent, EventType.TASK_CREATED, task, chance)
        await asyncio.sleep(pause * chance.uniform(0.4, 1.6))
        await _publish(service, tenant, agent, EventType.TASK_STARTED, task, chance)
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(pause * chance.uniform(0.2, 1.4))
            await _chatter(service, tenant, agent, chance)
        if len(open_tasks) > chance.randrange(4):
            await _end(service, tenant, open_tasks.pop(0), chance)
        await asyncio.sleep(pause * chance.uniform(0.4, 1.6))


async def _chatter(service: Service, tenant: DemoTenant, agent: int, chance: random.Random) -> None:
    name = tenant.agents[agent]
    if chance.random() < 0.5:
        tool = {"agent": name, "tool": chance.choice(_TOOLS), "ms": chance.randrange(20, 900)}
        await _publish(service, tenant, agent, EventType.AGENT_TOOL_EXECUTED, tool, chance)
    elif chance.random() < 0.7:
        said = {"from": name, "text": chance.choice(_WORDS)}
        await _publish(service, tenant, agent, EventType.CONVERSATION_MESSAGE, said, chance)
    else:
        memory = {"agent": name, "about": chance.choice(tenant.work)}
        await _publish(service, tenant, agent, EventType.MEMORY_CREATED, memory, chance)


async def _end(service: Service, tenant: DemoTenant, task: tuple[int, int, str], chance: random.Random) -> None:
    task_id, agent, title = task
    outcome: dict[str, Any] = {"task_id": task_id, "title": title, "agent": tenant.agents[agent]}
    if chance.random() < 0.15:
        outcome["error"] = "the source did not answer"
        await _publish(service, tenant, agent, EventType.TASK_FAILED, outcome, chance)
    else:
        outcome["seconds"] = round(chance.uniform(0.4, 9.0), 1)
        await _publish(service, tenant, agent, EventType.TASK_COMPLETED, outcome, chance)


async def _answer(service: Service, tenant: DemoTenant, pause: float) -> None:
    """Keyed events: the status of each agent, and in each circle an answer that grows by a few words at a time.
    `changes` counts those of the answer."""
    chance = random.Random(tenant.user_id)  # noqa: S311 - not a secret; reproducible
    words = _ANSWER.split()
    for agent in range(len(tenant.agents)):
        await _set_status(service, tenant, agent, "idle")
    while True:
        agent = chance.randrange(len(tenant.agents))
        await _set_status(service, tenant, agent, "writing")
        answer = {"agent": tenant.agents[agent], "title": chance.choice(tenant.work), "text": "", "changes": 1}
        await _change(service, tenant, agent, "answer", answer)
        for changes, start in enumerate(range(0, len(words), _WORDS_AT_ONCE), 2):
            await asyncio.sleep(pause * 0.5)
            text = " ".join(words[start : start + _WORDS_AT_ONCE]) + " "
            await _change(service, tenant, agent, "answer", {"text": text, "changes": changes}, "append")
        await _set_status(service, tenant, agent, "idle")
        await asyncio.sleep(pause * 4)


async def _set_status(service: Service, tenant: DemoTenant, agent: int, status: str) -> None:
    await _change(service, tenant, agent, f"agent:{agent + 1}", {"agent": tenant.agents[agent], "status": status})


async def _change(
    service: Service, tenant: DemoTenant, agent: int, key: str, data: Mapping[str, Any], op: Op = "set"
) -> None:
    ids: dict[str, Any] = {service.gateway.kinds.fields[0]: tenant.circles[agent % len(tenant.circles)]}
    kind = "agent.answer" if key == "answer" else "agent.status"
    await service.gateway.publish(tenant.tenant, kind, data, item_key=key, op=op, **ids)


async def _publish(
    service: Service, tenant: DemoTenant, agent: int, kind: EventType, data: Mapping[str, Any], chance: random.Random
) -> None:
    # An agent belongs to one circle; every second event has a project too, if there is a second kind of room.
    circle = tenant.circles[agent % len(tenant.circles)]
    project = chance.choice(tenant.projects) if chance.random() < 0.5 else None
    gateway = service.gateway
    ids: dict[str, Any] = dict(zip(gateway.kinds.fields, (circle, project), strict=False))
    await gateway.publish(tenant.tenant, kind, data, source_agent_id=agent + 1, **ids)
