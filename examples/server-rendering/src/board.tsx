/** The board, for the server and for the page: the tasks of a room. */

import type { GatewayClient, StateSnapshot } from 'gathering-gateway';
import { GatewayProvider, useItems } from 'gathering-gateway/react';

interface Events {
  'task.changed': { title: string; done: boolean };
}

interface Props {
  client: GatewayClient;
  initial: StateSnapshot<Events>;
}

export const App = ({ client, initial }: Props) => <GatewayProvider client={client}><Board initial={initial} /></GatewayProvider>;

function Board({ initial }: Pick<Props, 'initial'>) {
  const items = useItems<Events>('circle:7', { initial }); // in the order of their last changes
  const tasks = [...items].sort(([a], [b]) => (a < b ? -1 : 1));
  return <ul>{tasks.map(([key, { data }]) => <li key={key}>{data.title}: {data.done ? 'done' : 'open'}</li>)}</ul>;
}
