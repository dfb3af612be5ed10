"""The contract suite of `gateway.core.cluster.NodeQueries`, for several nodes."""

import asyncio
from typing import Any

from gateway.core.cluster import NodeAnswers
from gateway.testing.cluster_contract import NodeUnderTest, member
from gateway.testing.helpers import until
from gateway.testing.shared_control_contract import SOON, SharedControlContract


class SharedQueriesContract(SharedControlContract):
    """The guarantees of `NodeQueries` between nodes with a shared store; a part of `SharedClusterContract`."""

    # -- questions

    async def test_each_other_node_answers(self) -> None:
        """Each other node answers once, by its name, with the JSON values of its own."""
        question = {"é": [1, 2.5, None, True], "text": "a\nb" * 1_000}
        async with self.open() as one, self.join(one) as two, self.join(one) as three:
            names = [node.nodes.members.node for node in (two, three)]
            for _ in range(3):
                found = await _asked(one, question, len(names))
                assert found == NodeAnswers({name: [name, question] for name in names}), found
            many = await asyncio.gather(*(one.nodes.queries.ask("echo", "acme", n) for n in range(20)))
            assert [answers.answers[names[0]] for answers in many] == [[names[0], n] for n in range(20)]

    async def test_each_kind_of_question_has_its_answer(self) -> None:
        """Questions of several kinds at once are answered each by its own function; of an unknown kind, by none."""
        async with self.open() as one, self.join(one) as two:
            two.put(member("con_1", "ada", "circle:1"))
            await _asked(one, "at first", 1)
            name, ask = two.nodes.members.node, one.nodes.queries.ask
            kinds = (ask("count", "acme", "acme"), ask("echo", None, "acme"), ask("count", None, "bolt"))
            counted, echoed, none = await asyncio.gather(*kinds)
            assert (counted.answers, none.answers) == ({name: 1}, {name: 0})
            assert echoed.answers == {name: [name, "acme"]}
            assert await ask("no such kind", "acme", "question") == NodeAnswers({}, (name,))

    async def test_one_node_is_asked(self) -> None:
        """The node that is named answers, and no other one gets the question; one that cannot answer is silent."""
        async with self.open() as one, self.join(one) as two, self.join(one) as three:
            await _asked(one, "at first", 2)
            name = two.nodes.members.node
            three.answer = _raise
            assert await one.nodes.queries.ask_node("echo", name, "you") == NodeAnswers({name: [name, "you"]})
            assert await one.nodes.queries.ask_node("echo", "no-such-node", "you") == NodeAnswers({})
            two.answer = _raise
            assert await one.nodes.queries.ask_node("echo", name, "you") == NodeAnswers({}, (name,))
            two.answer = NodeUnderTest.echo
            async with self.partitioned(one):
                found = await one.nodes.queries.ask_node("echo", name, "and now")
                assert (found.answers, found.partial) == ({}, True)

    async def test_one_node_that_does_not_listen_is_silent_while_it_runs(self) -> None:
        """By its lease, also where it was never asked before."""
        async with self.open() as one, self.join(one) as two:
            await _asked(two, "at first", 1)
            name = two.nodes.members.node
            async with self.partitioned(two), asyncio.timeout(SOON):
                while (found := await one.nodes.queries.ask_node("echo", name, "and now")).answers or not found.silent:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.05)
            assert found == NodeAnswers({}, (name,))

    async def test_node_that_cannot_answer_is_silent(self) -> None:
        """A node whose answer raises, or takes too long, is silent; `ask` returns within 2 seconds."""
        async with self.open() as one, self.join(one) as two, self.join(one) as three:
            await _asked(one, "at first", 2)
            two.answer = _raise
            three.answer = _never
            async with asyncio.timeout(2.0):
                found = await one.nodes.queries.ask("echo", "acme", "and now")
            assert found.answers == {}
            assert set(found.silent) == {node.nodes.members.node for node in (two, three)}

    async def test_node_answers_again_after_hung_answers(self) -> None:
        """However many questions a node could not answer in time, it answers the later ones."""
        async with self.open() as one, self.join(one) as two:
            await _asked(one, "at first", 1)
            two.answer = _never
            hung = await asyncio.gather(*(one.nodes.queries.ask("echo", "acme", n) for n in range(50)))
            assert [answers.answers for answers in hung] == [{}] * 50
            two.answer = NodeUnderTest.echo
            await _asked(one, "again", 1)

    async def test_node_with_connections_that_does_not_listen_is_silent(self) -> None:
        """A node that cannot be reached, and has connections of the tenant as far as is known, is silent."""
        async with self.open() as one, self.join(one) as two:
            two.put(member("con_1", "ada", "circle:1"))
            await _asked(one, "at first", 1)
            async with asyncio.timeout(SOON):
                while not await one.list_members():  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.05)
            async with self.partitioned(two), asyncio.timeout(SOON):
                while (found := await one.nodes.queries.ask("echo", "acme", "and now")).answers:  # noqa: ASYNC110 - nor for this
                    await asyncio.sleep(0.05)
            assert found.silent == (two.nodes.members.node,)

    async def test_node_that_does_not_listen_is_silent_while_it_runs(self) -> None:
        """A node that has listened is silent when it cannot be reached, also about no tenant; not when it stopped."""
        async with self.open() as one, self.join(one) as two:
            async with self.join(one):
                await _asked(one, "at first", 2)
                await asyncio.sleep(1.2)  # it has a lease now, as after a second or two
            async with asyncio.timeout(SOON):
                while (found := await one.nodes.queries.ask("echo", None, "and now")).silent:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.05)
            assert list(found.answers) == [two.nodes.members.node]
            async with self.partitioned(two), asyncio.timeout(SOON):
                while (found := await one.nodes.queries.ask("echo", None, "and now")).answers:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.05)
            assert found.silent == (two.nodes.members.node,)

    async def test_partitioned_node_answers_for_itself(self) -> None:
        """Without the store there is no answer, within 2 seconds, and `partial` is true; afterwards there is."""
        async with self.open() as one, self.join(one) as two:
            await _asked(one, "at first", 1)
            async with self.partitioned(one), asyncio.timeout(2.0):
                found = await one.nodes.queries.ask("echo", "acme", "and now")
            assert (found.answers, found.partial) == ({}, True)
            await until(lambda: not one.nodes.members.partial, SOON)
            assert (await _asked(one, "again", 1)).answers == {
                two.nodes.members.node: [two.nodes.members.node, "again"]
            }


async def _asked(node: NodeUnderTest, question: Any, count: int) -> NodeAnswers:
    """The answers, once there are so many: a node that has just started may not listen yet."""
    async with asyncio.timeout(SOON):
        while len((found := await node.nodes.queries.ask("echo", "acme", question)).answers) < count:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.05)
    return found


async def _raise(node: NodeUnderTest, question: Any) -> Any:
    raise ValueError("no answer")


async def _never(node: NodeUnderTest, question: Any) -> Any:
    await asyncio.sleep(60)
