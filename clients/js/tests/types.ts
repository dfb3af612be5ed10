/** What the types refuse: compiled, never run. */

import { applyEvent, connect, type GatewayEvent, type StateSnapshot } from 'gathering-gateway';
import { useItems, useRoom } from 'gathering-gateway/react';

interface Events {
  'task.completed': { task: number };
  'agent.started': { agent: string };
}

const client = connect<Events>({ url: '/ws/dashboard', token: async () => 'jwt' });

client.room('circle:7', {
  load: async () => [1, 2],
  onLoad: (tasks) => tasks.map((task) => task.toFixed()),
  onEvent(event) {
    if (event.type === 'task.completed') event.data.task.toFixed();
    else event.data.agent.toUpperCase();
    event.circle_id?.toString();
    // @ts-expect-error: not before its type is known
    event.data.task;
    // @ts-expect-error: no such type
    event.type === 'task.gone';
  },
});

client.publish({ type: 'task.completed', data: { task: 1 }, circle_id: 7 });
// @ts-expect-error: the data of another type
client.publish({ type: 'agent.started', data: { task: 1 } });
// @ts-expect-error: a string
client.room('circle:7', { load: () => 'text', onLoad: (snapshot: number) => snapshot });
// @ts-expect-error: nothing to connect to
connect({ token: 'jwt' });

const untyped = connect({ url: '/ws/dashboard' });
untyped.room('circle:7', { onEvent: (event) => event.data.anything, onItems: (items) => items.get('key')?.data.anything });

export function Board() {
  const { state } = useRoom<Events>('circle:7', { onEvent: (event: GatewayEvent<Events>) => event.type });
  return [state, ...useItems<Events>('circle:7').keys()];
}

export function Rendered({ initial }: { initial: StateSnapshot<Events> }) {
  const tasks = new Map<string, GatewayEvent<Events>>();
  for (const event of initial.items) applyEvent<Events>(tasks, event, 'circle:7');
  // @ts-expect-error: without a cursor
  useItems<Events>('circle:7', { initial: { items: [] } });
  return [...useItems<Events>('circle:7', { initial }).keys()];
}
